"""Configuration: what is read, what is refused, and what names the question."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk import config
from perpwalk.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "some.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("market: {gapz: fill}", "'market.gapz': unknown key; did you mean 'gaps'?"),
        ("walk_forwrd: {}", "did you mean 'walk_forward'?"),
        ("zebra: 1", "'zebra': unknown key; known here: broker, compute"),
        ("model: {lstm: {hiden: 3}}", "'model.lstm.hiden': unknown key; did you mean 'hidden'?"),
        ("market: {gaps: maybe}", "'market.gaps'"),
        ("seed: -1", "'seed'"),
        ("seed: yes", "'seed'"),
        ("label: {horizon: 3 fortnights}", "is no duration"),
        ("walk_forward: {scheme: holdout}", "train_last_bar"),
        ("walk_forward: {train_last_bar: 2023-01-01}", "belong to scheme 'holdout'"),
        ("name: ../up", "'name'"),
        ("compute: {jobs: all}", "'compute.jobs': Input should be a valid integer or 'auto'"),
        ("strategy: {threshold: 7}", "'strategy.threshold': Input should be 'validation' or less"),
        ("a: &x 1\nb: *x", "aliases"),
        ("seed: 1\nseed: 2", "stands twice"),
        ("- 1", "mapping"),
        ("{", "not valid YAML"),
        ("broker: {cash: .inf}", "'broker.cash'"),
        ("market: {ohlcv: 'https://example.com/x.csv'}", "local file"),
    ],
)
def test_a_wrong_configuration_names_the_key_and_what_to_do(
    tmp_path: Path, text: str, said: str
) -> None:
    """A mistake in the file is one ConfigError (exit 2) that names the key or the line."""
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text))

    assert said in str(caught.value)
    assert 2 == caught.value.exit_code


def test_a_missing_configuration_is_said_so(tmp_path: Path) -> None:
    """A path that is not there, or is a folder, is named."""
    with pytest.raises(ConfigError, match=r"no configuration at .*none\.yaml"):
        config.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        config.load(tmp_path)


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    """``1e-4``, text to YAML 1.1, is read as the number people mean."""
    found = config.load(written(tmp_path, "model: {lstm: {learning_rate: 1e-4}}"))

    assert 1e-4 == found.model.lstm.learning_rate


def test_overrides_reach_into_sections(tmp_path: Path) -> None:
    """``--set a.b=c`` sets a key, typed as YAML would type it; a wrong one is refused by name."""
    path = written(tmp_path, "market: {symbol: ABC}")

    found = config.load(path, ["broker.leverage=3", "model.kind=xgb", "market.simulate.edge=0"])

    assert (3.0, "xgb", 0.0) == (
        found.broker.leverage,
        found.model.kind,
        found.market.simulate.edge,
    )
    assert "ABC" == found.market.symbol
    with pytest.raises(ConfigError, match=r"broker\.lever.*did you mean 'leverage'"):
        config.load(path, ["broker.lever=3"])
    with pytest.raises(ConfigError, match="section.key=value"):
        config.load(path, ["broker"])


def test_the_resolved_configuration_reads_back_equal(tmp_path: Path) -> None:
    """What is written into a run's folder repeats the run."""
    first = config.load(written(tmp_path, "walk_forward: {train: 100d}\nseed: 3"))

    second = config.load(written(tmp_path, first.to_yaml()))

    assert first == second


def test_the_digest_names_the_question_not_the_place() -> None:
    """Paths and compute devices leave the digest alone; data, seeds and models change it."""
    base = config.resolve({"market": {"ohlcv": "/a/x.csv"}})
    moved = config.resolve({"market": {"ohlcv": "/b/y.csv"}, "compute": {"threads": 1}})
    seeded = config.resolve({"market": {"ohlcv": "/a/x.csv"}, "seed": 8})
    hashes = {"ohlcv": "11"}

    assert base.digest(hashes) == moved.digest(hashes)
    assert base.digest(hashes) != seeded.digest(hashes)
    assert base.digest(hashes) != base.digest({"ohlcv": "22"})


def test_a_users_file_counts_by_what_it_holds(tmp_path: Path) -> None:
    """Moving a feature or strategy file keeps the question, changing a line makes another."""

    def digest(folder: Path, text: str) -> str:
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text(text)
        path = written(folder, "features: {modules: [mine.py]}\nstrategy: {name: 'mine.py:Mine'}")
        return config.load(path).digest({})

    assert digest(tmp_path / "a", "x = 1") == digest(tmp_path / "b", "x = 1")
    assert digest(tmp_path / "a", "x = 1") != digest(tmp_path / "b", "x = 2")


def test_paths_are_found_beside_the_configuration_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the file beside the configuration, else the current directory."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "near.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    path = written(
        tmp_path / "configs",
        "market: {ohlcv: near.csv, funding: far.csv, mark: '${SOMEWHERE}/${NOT_SET:-m}.csv'}",
    )

    market = config.load(path).market

    assert str(tmp_path / "configs" / "near.csv") == market.ohlcv
    assert str(tmp_path / "far.csv") == market.funding
    assert str(tmp_path / "m.csv") == market.mark


def test_an_unset_variable_is_named(tmp_path: Path) -> None:
    """``${NAME}`` without a value or default is refused."""
    with pytest.raises(ConfigError, match="SURELY_NOT_SET is not set"):
        config.load(written(tmp_path, "market: {ohlcv: '${SURELY_NOT_SET}/a.csv'}"))


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_readable_refusal(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """No text makes the reader crash: it is a Config or a ConfigError."""
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = config.load(path)
    except ConfigError:
        return
    assert isinstance(found, config.Config)
