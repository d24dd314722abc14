"""What reads bytes from outside, each as one function to throw bytes at.

A target is given bytes and a folder of its own, and reads them as perpwalk would. ``outcome`` holds
it to the promise: read, and then right (each target asserts what must hold of what was read), or
refused with one clear message.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutated_files
import numpy as np
import pandas as pd
import yaml

from perpwalk.errors import EnvironmentFailedError, UserError

LONGEST_MESSAGE = 1_500
HOUR = pd.Timedelta("1h")


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    name
        What it is called on the command line.
    seeds
        Makes good inputs, small ones.
    read
        Reads the bytes; raises UserError where they are refused.
    tokens
        Words of its language, put into inputs.
    dear
        Whether one call takes milliseconds: left to the long profile.
    blind
        Whether it is slowed down more by being watched than being watched helps: pages take
        seconds then, and tenths otherwise.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[bytes, Path], None]
    tokens: tuple[bytes, ...] = ()
    dear: bool = False
    blind: bool = False


def outcome(target: Target, data: bytes, folder: Path) -> str:
    """Return ``read`` or ``refused``; anything else that happens is a bug and is raised.

    A refusal is a message of some words, on one line, without characters that steer a terminal.
    """
    try:
        target.read(data, folder)
    except (UserError, EnvironmentFailedError) as error:
        told = str(error)
        assert 10 < len(told) <= LONGEST_MESSAGE, f"a message of {len(told)} characters"
        return "refused"
    return "read"


# ── configuration ────────────────────────────────────────────────────────────────────────────────


def _config_seeds() -> list[bytes]:
    from perpwalk.config import Config

    small = {
        "name": "x",
        "market": {"symbol": "ETHUSDT", "ohlcv": "bars.csv", "since": "2024-01-01"},
        "walk_forward": {"train": "500bars", "test": "8h", "scheme": "expanding"},
        "model": {"kind": "logistic", "lstm": {"learning_rate": 1e-4}},
        "strategy": {"params": {"exposure": 0.5}, "threshold": 0.5},
        "broker": {"tiers": [{"notional_floor": 0, "maintenance_rate": 0.01}]},
        "markets": [{"symbol": "A"}, {"symbol": "B"}],
        "compute": {"seeds": [1, 2]},
    }
    lone = {"features": {"include": ["returns"], "exclude": []}, "label": {"horizon": "2bars"}}
    return [
        yaml.safe_dump(small).encode(), json.dumps(small).encode(), yaml.safe_dump(lone).encode(),
        Config().to_yaml().encode(), b"", b"name: x\nextends: config.yaml\n",
    ]  # fmt: skip


def _read_config(data: bytes, folder: Path) -> None:
    """What was read says the same when it is written and read again."""
    from perpwalk import config as configuration

    path = folder / "config.yaml"
    path.write_bytes(data)
    found = configuration.load(path)
    again = folder / "again.yaml"
    again.write_text(found.to_yaml(), encoding="utf-8")
    assert found == configuration.load(again)
    assert found.digest({}) == configuration.load(again).digest({})
    interval = configuration.parse_duration(found.market.interval, pd.Timedelta(0))
    configuration.parse_duration(found.walk_forward.train, interval)


def _override_seeds() -> list[bytes]:
    return [
        b"--set\nmarket.simulate.edge=0", b"--set\nmodel.kind=logistic\n--set\nseed=7",
        b"--grid\nstrategy.threshold=0.4:0.6:100", b"--grid\nmodel.kind=xgb,logistic",
        b"--set\nfeatures.include=[returns, volume]", b"--set\nmarket.since=2024-01-01T00:00Z",
        b"--set\nbroker.tiers=[{notional_floor: 0, maintenance_rate: 0.1}]",
    ]  # fmt: skip


def _read_overrides(data: bytes, folder: Path) -> None:
    from engine.variants import parse_grid
    from perpwalk import config as configuration
    from perpwalk import layers

    (folder / "base.yaml").write_text("name: base\n")
    words = data.decode(errors="replace").split("\n")
    found = layers.read(folder / "base.yaml")
    for option, text in zip(words[::2], words[1::2], strict=False):
        if option == "--grid":
            grid = parse_grid([text])
            assert all(grid.values())
        else:
            found = layers.with_value(found, *layers.parse_override(text))
    configuration.of_layers(found)


# ── market data ──────────────────────────────────────────────────────────────────────────────────


def _packed(data: bytes) -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bars.csv", data)
    return [gzip.compress(data, mtime=0), stream.getvalue()]


def _bar_seeds() -> list[bytes]:
    bars = mutated_files.truth(12)
    texts = [make(bars).text().encode() for make in mutated_files.BASES.values()]
    frame = bars.reset_index(names="timestamp")
    parquet, feather, npy = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    frame.to_feather(feather)
    stamps = frame["timestamp"].astype("datetime64[ms, UTC]").astype("int64")
    np.save(npy, np.column_stack([stamps, bars.to_numpy()]))
    rows = [[int(t), *row] for t, row in zip(stamps, bars.to_numpy().tolist(), strict=True)]
    records = [dict(zip(["t", "o", "h", "l", "c", "v"], row, strict=True)) for row in rows]
    columns = {key: [one[key] for one in records] for key in records[0]}
    documents = [rows, records, columns, {"result": {"list": rows}}]
    binary = [parquet.getvalue(), feather.getvalue(), npy.getvalue()]
    return [*texts, *binary, *(json.dumps(one).encode() for one in documents), *_packed(texts[0])]


def _read_bars(data: bytes, folder: Path) -> None:
    """Bars that were read are bars: finite, in order, high on top."""
    from perpwalk.data import read_bars

    path = folder / "20240131_bars.csv"
    path.write_bytes(data)
    bars, findings, source = read_bars(path, symbol="", interval=None, gaps="drop")
    _assert_bars(bars)
    assert source.rows > 0
    for finding in findings:
        json.dumps(finding.as_dict(), allow_nan=False)


def _read_mark(data: bytes, folder: Path) -> None:
    from perpwalk.data import read_mark

    path = folder / "mark.csv"
    path.write_bytes(data)
    bars, _, _ = read_mark(path, symbol="ETHUSDT", interval=HOUR, gaps="fill")
    _assert_bars(bars)


def _assert_bars(bars: Any) -> None:
    values = np.array([bars.open, bars.high, bars.low, bars.close, bars.volume])
    assert np.isfinite(values).all()
    assert (bars.low > 0).all()
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()
    assert (bars.volume >= 0).all()
    assert bars.open_time.is_monotonic_increasing
    assert bars.open_time.is_unique


def _funding_seeds() -> list[bytes]:
    stamps = pd.date_range("2024-01-01", periods=8, freq="8h", tz="UTC")
    frame = pd.DataFrame({"timestamp": stamps, "funding_rate": 0.0001, "mark_price": 2000.0})
    frame.loc[3, "funding_rate"] = -0.0002
    parquet = io.BytesIO()
    frame.to_parquet(parquet)
    ms = [int(stamp.value) // 10**6 for stamp in stamps]
    rows = [{"fundingTime": t, "fundingRate": "0.00010000", "symbol": "ETHUSDT"} for t in ms]
    text = frame.to_csv(index=False).encode()
    archive = "calc_time,funding_interval_hours,last_funding_rate\n" + "".join(
        f"{t},8,0.0001\n" for t in ms
    )
    return [text, parquet.getvalue(), json.dumps(rows).encode(), archive.encode(), *_packed(text)]


def _read_funding(data: bytes, folder: Path) -> None:
    from perpwalk.data import read_funding

    path = folder / "funding.csv"
    path.write_bytes(data)
    funding, _, _ = read_funding(path, symbol="ETHUSDT")
    assert np.isfinite(funding.rate).all()
    assert (np.abs(funding.rate) <= 0.03).all()
    assert not np.isinf(funding.mark_price).any()
    assert funding.settle_time.is_monotonic_increasing
    assert funding.settle_time.is_unique


def _examine(data: bytes, folder: Path) -> None:
    """Examining never fails, agrees with reading, and what it finds can be shown and written."""
    from perpwalk.data.examine import examine_files
    from perpwalk.reports import data_page

    path = folder / "<b>bars.csv"
    path.write_bytes(data)
    found = examine_files([path])
    assert found.exit_code in (0, 1, 2)
    json.dumps(found.as_dict(), allow_nan=False)
    data_page.write(found, folder / "page.html")
    assert (
        "<b>"
        not in (folder / "page.html")
        .read_text()
        .partition("<section")[2]
        .replace("<b>ERROR", "")
        .replace("<b>WARN", "")
        .replace("<b>INFO", "")
        .partition("</b>")[2]
    )


# ── the store ────────────────────────────────────────────────────────────────────────────────────


def _store_seeds() -> list[bytes]:
    catalog = {
        "format": 1, "exchange": "x", "symbol": "Y", "kind": "ohlcv", "interval": "1h",
        "columns": [], "rows": 2, "first": None, "last": None,
        "gaps": [{"start": "2024-01-01T00:00:00Z", "end": "2024-01-01T01:00:00Z", "rows": 1}],
        "covered": [{"start": "2024-01-01T00:00:00Z", "end": "2024-01-01T02:00:00Z",
                     "source": "api", "fetched_at": "2024-01-02T00:00:00Z"}],
        "partitions": [{"year": 2024, "file": "year=2024/aa.parquet", "rows": 2,
                        "first": "2024-01-01T00:00:00Z", "last": "2024-01-01T01:00:00Z",
                        "sha256": "0" * 64, "months": {"2024-01": "0" * 64}}],
        "notes": ["listed"],
    }  # fmt: skip
    return [json.dumps(catalog).encode()]


def _read_store(data: bytes, folder: Path) -> None:
    """A catalog that was read names files inside its own folder, and reading goes on or refuses."""
    from perpwalk.data.store import SeriesKey, read_catalog
    from perpwalk.data.store.columns import read_columns

    key = SeriesKey("x", "Y", "ohlcv", "1h")
    place = key.folder(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / "_catalog.json").write_bytes(data)
    catalog = read_catalog(place, key)
    assert json.dumps(catalog.as_dict())
    for one in catalog.partitions:
        assert (place / one.file).resolve().is_relative_to(place.resolve())
    read_columns(place, catalog)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────

RUN_FILES = (
    "manifest.json", "audit.json", "metrics.csv", "predictions.parquet", "equity.parquet",
    "folds.csv", "training.csv", "trades.csv", "orders.csv", "funding.csv", "config.yaml",
    "models/fold-000/features.json", "seeds.csv",
)  # fmt: skip
VIEWS = 4
_KEPT: dict[str, bytes] = {}


def good_run(folder: Path) -> Path:
    """Put a whole run into ``folder`` and return its place."""
    place = folder / "results" / "x" / "base-00000000"
    if not _KEPT:
        from hand_made_run import replay, write_run

        from perpwalk import runs, seal

        run = write_run(place, replay(120))
        runs.write_csv(
            place / "folds.csv",
            pd.read_csv(place / "folds.csv").assign(threshold=0.5),
        )
        runs.write_json(place / "manifest.json", seal.sealed(run.manifest, place))
        _KEPT.update(
            (path.relative_to(place).as_posix(), path.read_bytes())
            for path in place.rglob("*")
            if path.is_file()
        )
    for name, content in _KEPT.items():
        path = place / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return place


def _run_seeds() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        good_run(Path(folder))
    # Which file, then what is in it.
    return [bytes([n]) + _KEPT.get(name, b"") for n, name in enumerate(RUN_FILES)]


def _show_seeds() -> list[bytes]:
    """Which file and which view of the run, then what is in the file."""
    views = range(0, VIEWS * len(RUN_FILES), len(RUN_FILES))
    return [bytes([view + seed[0]]) + seed[1:] for view in views for seed in _run_seeds()]


def _with_file(data: bytes, folder: Path) -> Path:
    place = good_run(folder)
    if data:
        (place / RUN_FILES[data[0] % len(RUN_FILES)]).write_bytes(data[1:])
    return place


def _read_run(data: bytes, folder: Path) -> None:
    """Every table of a run is read typed or refused, and listing runs survives any of them."""
    from engine.variants import finished_in
    from perpwalk import runs, seal

    place = _with_file(data, folder)
    try:
        listed = runs.list_runs(folder / "results")
        assert 1 == len(listed)
        run = runs.load_run(place)
        seal.broken(run.manifest, place)
        tables = [run.metrics, run.predictions, run.equity, run.folds, run.training, run.trades,
                  run.orders, run.funding, run.seeds]  # fmt: skip
        assert all(one is None or isinstance(one, pd.DataFrame) for one in tables)
        assert isinstance(run.audit["verdict"]["overall"], str)
        finished_in(folder / "results" / "x")
    finally:
        (place / "seeds.csv").unlink(missing_ok=True)


def _show_run(data: bytes, folder: Path) -> None:
    """A run with one strange file is shown, checked or drawn, or refused: one of them each."""
    from rich.console import Console

    from perpwalk import reports, runs
    from perpwalk.audit.check import check_run
    from perpwalk.reports import table

    place = _with_file(data, folder)
    try:
        run = runs.load_run(place)
        view = data[0] // len(RUN_FILES) % VIEWS if data else 0
        if view == 0:
            table.show(run, Console(file=io.StringIO()))
        elif view == 1:
            reports.write_page_of(run)
        elif view == 2:
            reports.write_tearsheet_of(run)
        else:
            check_run(run)
    finally:
        (place / "seeds.csv").unlink(missing_ok=True)


def _comparison_seeds() -> list[bytes]:
    from perpwalk.comparison.record import TABLES

    document = {
        "format": "perpwalk-comparison/1", "name": "x", "by": "sharpe", "level": 0.95,
        "verdict": "nothing", "winner": None, "leader": None, "start": None, "end": None,
        "decisions": 1, "bars": 1, "horizon": None, "bar_seconds": 3600.0, "trials": 1,
        "trials_text": "1", "files": None, "findings": [],
        "tables": {name: {"columns": list(columns), "rows": []}
                   for name, columns in TABLES.items()},
    }  # fmt: skip
    several = document | {"contracts": ["A", "B"], "stamps": 1}
    return [json.dumps(one).encode() for one in (document, several)]


def _read_comparison(data: bytes, folder: Path) -> None:
    from perpwalk.comparison.record import CURVES_FILE, JSON_FILE, load_comparison

    if not (folder / CURVES_FILE).is_file():
        stamps = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
        pd.DataFrame({"close_time": stamps, "flat": 1.0}).to_parquet(folder / CURVES_FILE)
    (folder / JSON_FILE).write_bytes(data)
    found = load_comparison(folder)
    assert found.exit_code in (0, 3, 4)
    assert all(isinstance(name, str) for name in (*found.ranked, *found.contracts))


def _trial_seeds() -> list[bytes]:
    import tempfile

    from perpwalk import trials

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trials.declare(place, 3)
        with trials.begin(place, experiment="x", variant="base", digest="d" * 64):
            pass
        trials.accept(place, digest="d" * 64, acceptance={"reason": "r", "at": "t", "by": "b"})
        trials.sweep(place, experiment="x", variant="v", ratios={"a": 0.1, "b": None}, worth=1.5,
                     bar_seconds=3600.0)  # fmt: skip
        return [(place / trials.LEDGER_FILE).read_bytes()]


def _read_trials(data: bytes, folder: Path) -> None:
    """Every line is taken or counted as damaged, also where its sums are right and its facts not.

    Lines that hold JSON get right sums here, as whoever forges one would give it.
    """
    from perpwalk import trials

    lines = []
    for raw in data.split(b"\n"):
        line = raw
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and len(raw) % 2:
            before = lines[-1] if lines else b""
            record = {k: v for k, v in record.items() if k not in ("after", "check")}
            try:
                line = trials._line(record, before).removesuffix(b"\n")
            except ValueError:
                line = raw
        lines.append(line)
    (folder / trials.LEDGER_FILE).write_bytes(b"\n".join(lines))
    ledger = trials.read(folder)
    counted = trials.count_of(ledger)
    assert counted.n >= 0
    assert counted.as_text()
    ratios = trials.latest_sharpes(ledger, 3600.0)
    assert all(np.isfinite(value) for value in ratios.values())


# ── models, cache, what workers and the network bring ────────────────────────────────────────────

_MODELS: dict[str, dict[str, bytes]] = {}
KINDS = ("majority", "logistic", "xgb", "lstm_xgb")


def _models() -> dict[str, dict[str, bytes]]:
    """Return the files of a small fitted model of each kind."""
    if _MODELS:
        return _MODELS
    import tempfile

    from perpwalk import models
    from perpwalk.config import LstmSection, ModelSection, XgbSection
    from perpwalk.models.base import FitContext, Sample

    rng = np.random.default_rng(1)
    values = rng.standard_normal((300, 3)).astype(np.float32)
    label = (values[:, 0] + rng.standard_normal(300) > 0).astype(np.int8)
    train = Sample(values, np.arange(10, 200), label[10:200])
    validation = Sample(values, np.arange(205, 300), label[205:300])
    small = LstmSection(timesteps=3, layers=1, hidden=4, dense=3, embedding=2, epochs=1)
    for kind in KINDS:
        section = ModelSection(kind=kind, lstm=small, xgb=XgbSection(rounds=3))
        fitted = models.build_model(section).fit(train, validation, FitContext(device="cpu"))
        with tempfile.TemporaryDirectory() as folder:
            fitted.save(Path(folder))
            _MODELS[kind] = {one.name: one.read_bytes() for one in sorted(Path(folder).iterdir())}
    return _MODELS


def _model_seeds() -> list[bytes]:
    return [
        bytes([k, n]) + content
        for k, kind in enumerate(KINDS)
        for n, content in enumerate(_models()[kind].values())
    ]


def _read_model(data: bytes, folder: Path) -> None:
    """A model that loads forecasts probabilities; one that does not says so."""
    from perpwalk import models

    files = _models()[KINDS[data[0] % len(KINDS)]] if data else _models()["xgb"]
    for old in folder.glob("*.*"):
        old.unlink()
    for n, (name, content) in enumerate(files.items()):
        changed = len(data) > 1 and n == data[1] % len(files)
        (folder / name).write_bytes(data[2:] if changed else content)
    fitted = models.load_model(folder)
    values = np.zeros((8, 3), dtype=np.float32)
    p_up = fitted.predict(values, np.arange(5, 8)).p_up
    assert np.isfinite(p_up).all()
    assert ((p_up >= 0) & (p_up <= 1)).all()


def _preprocessor_seeds() -> list[bytes]:
    import tempfile

    from perpwalk.preprocess import Preprocessor

    made = Preprocessor(
        candidates=("a", "b", "c"), names=("b", "a"), center=np.array([0.0, 1.0]),
        scale=np.array([1.0, 2.0]), clip=8.0, method="mrmr", scores={"a": 0.1}, constant=("c",),
        rows_seen=(0, 9),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder))
        files = sorted(Path(folder).iterdir())
        return [bytes([n]) + path.read_bytes() for n, path in enumerate(files)]


def _read_preprocessor(data: bytes, folder: Path) -> None:
    from perpwalk.preprocess import Preprocessor

    seeds = _preprocessor_seeds()
    names = ("features.json", "scaler.json")
    for seed, name in zip(seeds, names, strict=True):
        (folder / name).write_bytes(seed[1:])
    (folder / names[data[0] % 2 if data else 0]).write_bytes(data[1:])
    scaler = Preprocessor.load(folder)
    made = scaler.transform(np.ones((4, len(scaler.candidates))))
    assert made.shape == (4, len(scaler.names))
    assert np.isfinite(made).all()


def _cache_seeds() -> list[bytes]:
    return [json.dumps({"kind": "fits", "key": "k", "bytes": 1, "files": {"a": "0" * 64}}).encode()]


def _read_cache(data: bytes, folder: Path) -> None:
    """An entry that is not as it was written is not there."""
    from perpwalk.cache import ENTRY, Cache

    cache = Cache(folder / "cache", 10**6)
    cache.keep("fits", "kk", lambda place: (place / "a").write_bytes(b"content"))
    (cache.root / "fits" / "kk" / "kk" / ENTRY).write_bytes(data)
    target = folder / "taken"
    shutil.rmtree(target, ignore_errors=True)
    if cache.take("fits", "kk", target):
        assert b"content" == (target / "a").read_bytes()
    else:
        assert not target.exists()


def _zip_seeds() -> list[bytes]:
    return [_packed(b"open_time,open\n1,2\n")[1], _packed(b"")[1]]


def _read_zip(data: bytes, folder: Path) -> None:
    from perpwalk.fetch.net import NoAnswerError
    from perpwalk.fetch.unzip import only_member

    try:
        only_member("x.zip", data)
    except NoAnswerError as error:
        raise UserError(str(error)) from error


def _archive_seeds() -> list[bytes]:
    bars = mutated_files.archive(mutated_files.truth(6))
    return [
        b"\x00" + bars.text().encode(), b"\x00" + bars.text().partition("\n")[2].encode(),
        b"\x01calc_time,funding_interval_hours,last_funding_rate\n1704067200000,8,0.0001\n",
        b"\x02create_time,symbol,sum_open_interest,sum_open_interest_value\n"
        b"2024-01-01 00:05:00,X,1,2\n",
    ]  # fmt: skip


def _read_archive(data: bytes, folder: Path) -> None:
    """The text of an archive file gives rows of numbers in order, or is a bad file."""
    from perpwalk.data.store.series import SeriesKey, refused
    from perpwalk.errors import PerpwalkError
    from perpwalk.fetch.archive import Archive, ArchiveFile
    from perpwalk.fetch.net import Clock, Endpoints

    kinds = ("ohlcv", "funding", "open_interest")
    kind = kinds[data[0] % 3] if data else "ohlcv"
    key = SeriesKey.of("binance", "X", kind, "1h")  # type: ignore[arg-type]
    archive = Archive(key, Endpoints(), Clock(), print)
    start = int(pd.Timestamp("2024-01-01").value) // 10**6
    try:
        rows = archive._rows(ArchiveFile("x", start, start + 31 * 86_400_000), data[1:])
    except PerpwalkError as error:
        raise UserError(str(error)) from error
    assert (np.diff(rows.time) > 0).all()
    refused(key, rows)


# ── the account ──────────────────────────────────────────────────────────────────────────────────


def _account_seeds() -> list[bytes]:
    rng = np.random.default_rng(3)
    return [rng.bytes(size) for size in (200, 500, 1000, 2000, 4000)]


def _read_orders(data: bytes, folder: Path) -> None:
    """Bytes are a market, an account's settings and orders of every kind; the rules hold."""
    from hypothesis import HealthCheck, given, settings
    from order_tapes import account_of, check, tapes

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(tapes())
    def trade(drawn: tuple[Any, Any]) -> None:
        check(drawn[0], account_of(*drawn))

    trade.hypothesis.fuzz_one_input(data)


TARGETS = {
    one.name: one
    for one in (
        Target("config", _config_seeds, _read_config, (
            b"market:", b"extends: ", b"!!binary ", b"!!python/object:os.system ", b"&a ", b"*a",
            b"1e400", b".nan", b"999999999999d", b"0x", b"null", b"[[[[", b"{{{{", b"? ", b"<<: ",
            b"!!timestamp 2024-99-99", b"- ", b"'", b"\x00", b"${A:-b}", b"../",
        )),
        Target("overrides", _override_seeds, _read_overrides, (
            b"--grid", b"--set", b"0:1:1000000000", b"[", b"&a [*a]", b"=", b"..", b"1e999",
        )),
        Target("bars", _bar_seeds, _read_bars, (
            b"nan", b"inf", b"1e308", b"-", b"\x00", b"\xef\xbb\xbf", b'"', b";", b"\r", b"open",
            b"9999999999999999", b"2024-13-45", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"null",
        )),
        Target("mark", _bar_seeds, _read_mark, (b"nan", b"1e308", b"9223372036854775807")),
        Target("funding", _funding_seeds, _read_funding, (
            b"nan", b"inf", b"1e308", b"%", b"fundingRate", b"0.01", b'"', b"2262-04-12",
        )),
        Target("examine", _bar_seeds, _examine, (b"<script>", b"nan", b"1e308", b'"'), dear=True),
        Target("store", _store_seeds, _read_store, (
            b"../../", b"/etc/passwd", b"null", b"1e999", b"NaN", b"[[[[", b"9999-12-31",
        )),
        Target("run", _run_seeds, _read_run, (
            b"NaN", b"Infinity", b"null", b"../", b"[[[[[[", b'{"status": "finished"}', b"\x00",
        )),
        Target("pages", _show_seeds, _show_run, (
            b"<script>", b"null", b"NaN", b"1e999",
        ), dear=True, blind=True),
        Target("comparison", _comparison_seeds, _read_comparison, (
            b"null", b"NaN", b"1e999", b"[]", b"{}", b"true", b"rank",
        )),
        Target("trials", _trial_seeds, _read_trials, (
            b"begun", b"ended", b"declared", b"swept", b"accepted", b"null", b"1e999", b"[]", b"\n",
        )),
        Target("models", _model_seeds, _read_model, (
            b"null", b"NaN", b"-1", b"os:system", b"$l#L", b"\xff\xff\xff\x7f",
        ), dear=True),
        Target("preprocessor", _preprocessor_seeds, _read_preprocessor, (b"null", b"NaN", b"[]")),
        Target("cache", _cache_seeds, _read_cache, (b"null", b"../", b"[]")),
        Target("zip", _zip_seeds, _read_zip, (b"PK\x01\x02", b"../", b"\xff\xff\xff\xff")),
        Target("account", _account_seeds, _read_orders, dear=True),
        Target("archive", _archive_seeds, _read_archive, (b"nan", b"1e999", b'"', b"\n\n")),
    )
}  # fmt: skip


def corpus(target: Target) -> Iterator[bytes]:
    """Yield the good inputs of a target."""
    yield from target.seeds()
