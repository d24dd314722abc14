"""The seed band: what it shows, what it warns of, and that it never moves the headline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perpwalk import config
from perpwalk.audit.score import Score
from perpwalk.audit.seeds import SeedBand
from perpwalk.domain import Level
from perpwalk.errors import ConfigError
from perpwalk.reports.seeds import seeds_of
from perpwalk.uncertainty.estimate import Estimate

AUC = Estimate(value=0.56, low=0.54, high=0.58, level=0.95)
PLAIN = Score(auc=0.56, accuracy=0.54, null_sd=0.01, rows=900, total_return=0.1, sharpe=1.0)


def band(*changes: dict[str, float | None]) -> SeedBand:
    scores = [PLAIN, *(replace(PLAIN, **change) for change in changes)]
    return SeedBand.of(7, list(zip((7, *range(1, len(scores))), scores, strict=True)))


def told(found: SeedBand) -> set[tuple[str, str, Level]]:
    return {(f.code, f.where, f.level) for f in found.findings(AUC)}


def test_one_seed_of_a_model_with_chance_is_called_so() -> None:
    """A note U012; a model without chance has nothing to say."""
    assert {("U012", "model", Level.INFO)} == told(SeedBand(7, seeded=True))
    assert set() == told(SeedBand(7, seeded=False))


def test_the_headline_is_the_own_seed_and_never_the_best() -> None:
    """The best of three seeds is a repeat; the spread is told, the headline keeps its figures."""
    document = band({"auc": 0.6}, {"auc": 0.55}).as_dict()

    assert (7, "headline", 0.56) == tuple(document["runs"][0][k] for k in ("seed", "role", "auc"))
    assert {"min": 0.55, "median": 0.56, "max": 0.6} == document["spread"]["auc"]
    assert "never the best" in document["rule"]


def test_seeds_that_agree_within_the_sampling_error_are_a_note() -> None:
    """Four deviations of the seeds inside the headline's interval: nothing to warn of."""
    assert {("U012", "model", Level.INFO)} == told(band({"auc": 0.565}, {"auc": 0.557}))


def test_seeds_that_move_more_than_the_sample_are_a_warning() -> None:
    """Deviation 0.02 against an interval of 0.04."""
    assert {("U012", "model", Level.WARN)} == told(band({"auc": 0.58}, {"auc": 0.54}))


def test_seeds_that_disagree_are_named_for_forecast_and_money() -> None:
    """One seed at or below chance, another that loses: each a U014 of its own."""
    found = told(band({"auc": 0.5}, {"total_return": -0.1}))

    assert {("U014", "model", Level.WARN), ("U014", "account", Level.WARN)} <= found


def test_an_undefined_figure_is_null() -> None:
    """A seed whose forecast is constant has no AUC; the spread is that of the others."""
    document = band({"auc": None, "sharpe": None}).as_dict()

    assert {"min": 0.56, "median": 0.56, "max": 0.56} == document["spread"]["auc"]


def test_the_table_shows_each_seed_and_the_spread() -> None:
    """Rows: seeds, then least, median and most; without repeats one sentence."""
    many = seeds_of({"seeds": band({"auc": 0.6}).as_dict()})
    one = seeds_of({"seeds": SeedBand(7, seeded=True).as_dict()})

    assert ["7, headline", "1", "min", "median", "max"] == [row[0] for row in many.rows]
    assert ((), True) == (one.rows, one.note.startswith("One seed (7)"))
    assert None is seeds_of({"seeds": SeedBand(7, seeded=False).as_dict()})
    assert None is seeds_of({})


def test_seeds_do_not_change_the_question_and_are_given_once() -> None:
    """The digest is that without them; a seed given twice is refused by name."""
    plain, many = config.resolve({}), config.resolve({"compute": {"seeds": [1, 2]}})

    assert plain.digest({}) == many.digest({})
    with pytest.raises(ConfigError, match=r"compute\.seeds.*twice: 3, 3"):
        config.resolve({"compute": {"seeds": [3, 3]}})
