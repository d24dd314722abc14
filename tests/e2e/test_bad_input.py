"""Bad input: one clear message, exit code 2, nothing half-made left behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from engine import cli

HOURS = 1500


def bars() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, HOURS)))
    opened = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2024-01-01", periods=HOURS, freq="h", tz="UTC"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": rng.uniform(1, 10, HOURS),
        }
    )


def funding() -> pd.DataFrame:
    stamps = pd.date_range("2023-12-31 16:00", periods=HOURS // 8 + 4, freq="8h", tz="UTC")
    return pd.DataFrame({"timestamp": stamps, "funding_rate": 0.0001})


def drop_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="high")


def nan_price(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[700, "close"] = np.nan
    return frame


def duplicate(frame: pd.DataFrame) -> pd.DataFrame:
    again = frame.iloc[9:10].assign(volume=frame["volume"].iloc[9] + 1)  # it says something else
    return pd.concat([frame.iloc[:10], again, frame.iloc[10:]])


def unsorted(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.iloc[:5], frame.iloc[6:7], frame.iloc[5:6], frame.iloc[7:]])


def high_below_low(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[20, "high"] = frame.loc[20, "low"] * 0.5
    return frame


def empty(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def gap(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(index=range(100, 130))


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def percent(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(funding_rate=frame["funding_rate"] * 10_000)


def short(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.tail(20)


Change = Callable[[pd.DataFrame], pd.DataFrame]
CASES: list[tuple[str, Change, Change, dict[str, object], list[str]]] = [
    ("missing column", drop_column, same, {}, ["bars.csv", "high"]),
    ("NaN price", nan_price, same, {}, ["bars.csv", "row 702", "close"]),
    ("duplicate bar", duplicate, same, {}, ["bars.csv", "row 12", "timestamp"]),
    ("unsorted rows", unsorted, same, {}, ["bars.csv", "row 8", "timestamp"]),
    ("high below low", high_below_low, same, {}, ["bars.csv", "row 22", "high"]),
    ("empty file", empty, same, {}, ["bars.csv"]),
    ("gap", gap, same, {}, ["bars.csv", "30"]),
    ("funding of another scale", same, percent, {}, ["funding.csv", "funding_rate"]),
    ("funding too short", same, short, {}, ["%", "missing_funding"]),
    ("unknown key", same, same, {"markt": {}}, ["markt", "did you mean 'market'"]),
    ("unknown strategy", same, same, {"strategy": {"name": "strategies.lstm_xgb:LongShrt"}},
     ["LongShort"]),
    ("unknown parameter", same, same, {"strategy": {"params": {"exposre": 1}}}, ["exposure"]),
    ("unknown feature", same, same, {"features": {"include": ["retuns"]}}, ["returns"]),
    ("unknown model", same, same, {"model": {"kind": "lstm_xgbb"}}, ["lstm_xgb"]),
    ("too little data", same, same, {"walk_forward": {"train": "900d"}}, ["walk_forward"]),
    ("no tiers", same, same, {"broker": {"tiers": []}}, ["broker.tiers", "at least 1 item"]),
    ("a path with a zero byte", same, same, {"features": {"modules": ["x\0.py"]}},
     ["features.modules", "zero byte"]),
    ("wrong interval", same, same, {"market": {"interval": "4h"}}, ["interval"]),
]  # fmt: skip


def perpwalk(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["perpwalk", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def write_experiment(folder: Path, changes: dict[str, object]) -> Path:
    raw = {
        "name": "bad",
        "market": {"symbol": "ABC", "ohlcv": "bars.csv", "funding": "funding.csv"},
        "walk_forward": {
            "train": "500bars", "validation": "100bars", "test": "100bars", "min_train_rows": 100,
        },
        "model": {"kind": "logistic"},
    }  # fmt: skip
    for section, values in changes.items():
        raw[section] = {**raw.get(section, {}), **values} if isinstance(values, dict) else values
    path = folder / "bad.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize(
    ("change_bars", "change_funding", "changes", "said"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_bad_input_is_one_message_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change_bars: Change,
    change_funding: Change,
    changes: dict[str, object],
    said: list[str],
) -> None:
    """The message names the place and the remedy, without a traceback; no run is begun."""
    change_bars(bars()).to_csv(tmp_path / "bars.csv", index=False)
    change_funding(funding()).to_csv(tmp_path / "funding.csv", index=False)
    config = write_experiment(tmp_path, changes)

    code = perpwalk(monkeypatch, "run", str(config), "--out", str(tmp_path / "out"))

    stderr = capsys.readouterr().err
    error = stderr[stderr.index("error: ") :]
    assert 2 == code
    assert [] == [word for word in said if word not in error]
    assert "Traceback" not in stderr
    assert 1 == len(error.strip().splitlines())
    assert not (tmp_path / "out").exists()


def test_an_unwritable_output_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A results folder that cannot be made is said before any work is done."""
    bars().to_csv(tmp_path / "bars.csv", index=False)
    funding().to_csv(tmp_path / "funding.csv", index=False)
    (tmp_path / "file").touch()
    config = write_experiment(tmp_path, {})

    code = perpwalk(monkeypatch, "run", str(config), "--out", str(tmp_path / "file" / "out"))

    assert 2 == code
    assert "cannot write results" in capsys.readouterr().err


def test_the_unchanged_experiment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files the bad cases are made from are good ones."""
    bars().to_csv(tmp_path / "bars.csv", index=False)
    funding().to_csv(tmp_path / "funding.csv", index=False)
    config = write_experiment(tmp_path, {"report": {"tearsheet": False, "html": False}})

    code = perpwalk(monkeypatch, "run", str(config), "--out", str(tmp_path / "out"))

    assert code in (0, 4)  # a random walk: judged, whatever the verdict


def test_a_missing_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data file that is not there is named with its whole path."""
    config = write_experiment(tmp_path, {})

    assert 2 == perpwalk(monkeypatch, "run", str(config), "--out", str(tmp_path / "out"))
    assert "bars.csv" in capsys.readouterr().err
