"""Configurations that build on others: merging, provenance, and mistakes said where they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import plugins
from perpwalk import config, layers
from perpwalk.errors import ConfigError


def written(folder: Path, **texts: str) -> Path:
    """Write ``name="text"`` files and return the path of the last one."""
    path = folder
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def test_a_configuration_is_laid_over_the_one_it_extends(tmp_path: Path) -> None:
    """Sections are merged key by key, the later file wins, lists are replaced whole."""
    path = written(
        tmp_path,
        base="name: demo\nmodel: {kind: xgb, xgb: {rounds: 50, max_depth: 3}}\n"
        "features: {include: [trend, volume]}",
        middle="extends: base.yaml\nmodel: {xgb: {rounds: 60}}\nseed: 3",
        top="extends: middle.yaml\nfeatures: {include: [momentum]}\nseed: 4",
    )

    found = config.load(path)

    assert ("demo", "xgb", 60, 3) == (
        found.name, found.model.kind, found.model.xgb.rounds, found.model.xgb.max_depth,
    )  # fmt: skip
    assert ("momentum",) == found.features.include
    assert 4 == found.seed


def test_null_over_an_inherited_section_brings_its_defaults_back(tmp_path: Path) -> None:
    """A variant that names another strategy can drop the parameters of the base's."""
    path = written(
        tmp_path,
        base="strategy: {threshold: 0.6, params: {weak_strength: 0.1}}",
        top="extends: base.yaml\nstrategy: {params: null}",
    )

    found = config.load(path)

    assert {} == found.strategy.params
    assert 0.6 == found.strategy.threshold


def test_each_value_remembers_the_file_that_set_it(tmp_path: Path) -> None:
    """The files are kept outermost base first, and each key's file is known."""
    path = written(
        tmp_path, base="seed: 1\nbroker: {cash: 5}", top="extends: base.yaml\nbroker: {cash: 6}"
    )

    found = layers.read(path, ["label.horizon=2bars"])

    assert ["base.yaml", "top.yaml"] == [file.name for file in found.files]
    assert tmp_path / "base.yaml" == found.file_of("seed")
    assert path == found.file_of("broker.cash")
    assert path == found.file_of("broker")
    assert found.file_of("label.horizon") is None


@pytest.mark.parametrize(
    ("base", "top", "said", "file"),
    [
        ("market: {gapz: fill}", "seed: 2", "'market.gapz': unknown key", "base.yaml"),
        ("seed: 1", "strategy: {treshold: 1}", "did you mean 'threshold'?", "top.yaml"),
        ("model: {kind: xgb}", "model: xgb", "'model'", "top.yaml"),
        ("walk_forward: {scheme: holdout}", "seed: 2", "train_last_bar", "base.yaml"),
        ("- 1", "seed: 2", "config key 'extends'", "base.yaml"),
    ],
)
def test_a_mistake_names_the_key_and_the_file_that_holds_it(
    tmp_path: Path, base: str, top: str, said: str, file: str
) -> None:
    """With several files, the message says in which of them the key stands."""
    path = written(tmp_path, base=base, top=f"extends: base.yaml\n{top}")

    with pytest.raises(ConfigError) as caught:
        config.load(path)

    assert said in str(caught.value)
    assert file in str(caught.value)


def test_a_mistake_of_an_override_names_no_file(tmp_path: Path) -> None:
    """A key set on the command line is not looked for in a file."""
    path = written(tmp_path, base="seed: 1")

    with pytest.raises(ConfigError) as caught:
        config.load(path, ["seed=-1"])

    assert "base.yaml" not in str(caught.value)


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ("extends: nowhere.yaml", r"'extends': no configuration at .*nowhere.yaml.*top\.yaml"),
        ("extends: .", r"'extends': .* is a folder.*top\.yaml"),
        ("extends: [a.yaml]", r"'extends': must be the path .*top\.yaml"),
        ("extends: top.yaml", r"circle: .*top\.yaml extends .*top\.yaml"),
        ("extends: other.yaml", r"circle: .*top\.yaml extends .*other\.yaml extends .*top\.yaml"),
    ],
)
def test_an_unusable_base_is_said_so(tmp_path: Path, top: str, said: str) -> None:
    """A missing base, a folder, a list and a circle are each one message naming the files."""
    path = written(tmp_path, other="extends: top.yaml", top=top)

    with pytest.raises(ConfigError, match=said):
        config.load(path)


def test_a_relative_path_means_what_it_says_in_its_own_file(tmp_path: Path) -> None:
    """A data path of the base is looked for beside the base, one of the variant beside it."""
    (tmp_path / "bars.csv").touch()
    (tmp_path / "variants").mkdir()
    (tmp_path / "variants" / "funding.csv").touch()
    path = written(
        tmp_path,
        base="market: {ohlcv: bars.csv, funding: bars.csv}",
        **{"variants/top": "extends: ../base.yaml\nmarket: {funding: funding.csv}"},
    )

    market = config.load(path).market

    assert str(tmp_path / "bars.csv") == market.ohlcv
    assert str(tmp_path / "variants" / "funding.csv") == market.funding


def test_an_environment_variable_that_is_overridden_need_not_be_set(tmp_path: Path) -> None:
    """Only the value that holds is looked at."""
    path = written(
        tmp_path,
        base="market: {ohlcv: '${SURELY_NOT_SET}/a.csv'}",
        top="extends: base.yaml\nmarket: {ohlcv: a.csv}",
    )

    assert config.load(path).market.ohlcv.endswith("a.csv")


def test_the_same_question_has_one_digest_however_it_is_written(tmp_path: Path) -> None:
    """A configuration in layers asks what the flat one asks."""
    flat = written(tmp_path, flat="seed: 3\nmodel: {kind: xgb}")
    layered = written(tmp_path, base="seed: 3", top="extends: base.yaml\nmodel: {kind: xgb}")

    assert config.load(flat).digest({}) == config.load(layered).digest({})


def test_a_threshold_among_the_strategys_parameters_is_pointed_to_its_place() -> None:
    """``strategy.params.threshold`` is told apart from ``strategy.threshold``."""
    with pytest.raises(ConfigError, match=r"did you mean the key 'strategy\.threshold'"):
        plugins.load_strategy("strategies.lstm_xgb:LongShort", {"threshold": 0.5})


def test_a_shipped_strategys_threshold_has_one_place() -> None:
    """Written among the parameters it is taken for the threshold; twice and apart it is refused."""
    there = config.resolve({"strategy": {"params": {"threshold": 0.52, "exposure": 0.5}}})

    assert (0.52, {"exposure": 0.5}) == (there.strategy.threshold, there.strategy.params)
    assert there.digest({}) == config.resolve(
        {"strategy": {"threshold": 0.52, "params": {"exposure": 0.5}}}
    ).digest({})
    with pytest.raises(ConfigError, match=r"given twice: 0\.5 here and 0\.52 in params"):
        config.resolve({"strategy": {"threshold": 0.5, "params": {"threshold": 0.52}}})


def test_a_strategy_of_ones_own_keeps_its_parameter_called_threshold() -> None:
    """Only the shipped strategies are known to have none of that name."""
    own = {"name": "mine.py:Mine", "params": {"threshold": 3}}
    asked = config.resolve({"strategy": own}).strategy

    assert ("validation", {"threshold": 3}) == (asked.threshold, asked.params)
