"""The prediction audit: each fault has its code and level, honest noise has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from perpwalk.audit.predictions import PredictionContext, audit_predictions, ceilings
from perpwalk.domain import Finding, Level


def noise(n: int = 3000, folds: int = 3, seed: int = 0, skill: float = 0.0) -> pd.DataFrame:
    """Return forecasts that know ``skill`` times the next move's sign, calibrated."""
    rng = np.random.default_rng(seed)
    p_up = 0.5 + 0.03 * rng.normal(size=n)
    up = rng.random(n) < np.clip(p_up, 0, 1)
    p_up = p_up + skill * np.where(up, 1, -1)
    return pd.DataFrame(
        {
            "close_time": pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC"),
            "fold": np.arange(n) * folds // n,
            "p_up": p_up,
            "threshold": 0.5,
            "label": pd.array(up.astype(int), dtype="Int8"),
            "forward_return": np.where(up, 0.01, -0.01),
        }
    )


def found(table: pd.DataFrame, code: str, **context: object) -> list[Finding]:
    everything = audit_predictions(table, PredictionContext(**context))
    return [f for f in everything if f.code == code]


def test_an_honest_weak_forecast_has_no_error() -> None:
    """A calibrated forecast with a small edge gives only notes."""
    findings = audit_predictions(noise())

    assert {"P008"} == {f.code for f in findings}
    assert {Level.INFO} == {f.level for f in findings}


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_probability(value: float) -> None:
    """P001 names the first row."""
    table = noise()
    table.loc[41, "p_up"] = value
    (told,) = found(table, "P001")

    assert (Level.ERROR, "first at row 41") == (told.level, told.where)


def test_decisions_out_of_order_and_none_at_all() -> None:
    """P001 too."""
    table = noise()
    table.loc[5, "close_time"] = table.loc[4, "close_time"]

    assert "out of order" in found(table, "P001")[0].message
    assert "no predictions" in found(noise().iloc[:0], "P001")[0].message


def test_one_class_of_calls() -> None:
    """P002 in the fold where it happens, saying that the threshold is off."""
    table = noise()
    table.loc[table["fold"] == 1, "threshold"] = 0.9
    (told,) = found(table, "P002")

    assert (Level.ERROR, "fold 001") == (told.level, told.where)
    assert "threshold is off" in str(told.observed)


def test_a_constant_forecast() -> None:
    """P003 is an error, P002 says its spread is tiny; by design both are notes."""
    table = noise()
    table["p_up"] = 0.51
    constant = found(table, "P003")

    assert {Level.ERROR} == {f.level for f in constant}
    assert "tiny" in str(found(table, "P002")[0].observed)
    for code in ("P002", "P003", "P004"):
        assert {Level.INFO} == {f.level for f in found(table, code, constant_by_design=True)}, code


def test_a_coarse_forecast() -> None:
    """P003 warns of few values in many rows."""
    table = noise()
    table["p_up"] = np.round(table["p_up"], 1)

    assert {Level.WARN} == {f.level for f in found(table, "P003")}


def test_probabilities_that_cannot_cross_a_half() -> None:
    """P004: the sigmoid of a regressor on 0/1 is an error; one leaning fold of three a warning."""
    table = noise()
    table["p_up"] = 0.55 + np.abs(table["p_up"] - 0.5)
    (rule,) = found(table, "P004")
    one = noise()
    one.loc[one["fold"] == 2, "p_up"] = 0.5 + np.abs(one["p_up"] - 0.5)
    (leaning,) = found(one, "P004")

    assert (Level.ERROR, "all") == (rule.level, rule.where)
    assert (Level.WARN, "fold 002") == (leaning.level, leaning.where)


def test_a_weak_honest_model_may_miss_a_half_on_one_side() -> None:
    """P004 only warns where the forecasts lie close around the train's share of ups."""
    table = noise()
    table["p_up"] = 0.51 + 0.01 * (table["p_up"] - 0.5)

    (told,) = found(table, "P004", train_up_rate={0: 0.51, 1: 0.51, 2: 0.51})

    assert Level.WARN == told.level


def test_a_handful_of_decisions_may_be_called_one_way() -> None:
    """P002 warns in the short rest of a fold, where a whole fold would be an error."""
    table = noise()
    whole, rest = table.copy(), table.drop(index=table.index[table["fold"] == 2][50:])
    for frame in (whole, rest):
        frame.loc[frame["fold"] == 2, "p_up"] = 0.9

    assert [Level.ERROR] == [f.level for f in found(whole, "P002")]
    assert [Level.WARN] == [f.level for f in found(rest, "P002")]


def test_a_fold_of_one_class_has_no_auc() -> None:
    """P005 counts the folds."""
    table = noise()
    table.loc[table["fold"] == 0, "label"] = 1
    (told,) = found(table, "P005")

    assert ("fold 000", "1 of 3 folds") == (told.where, told.observed)


def test_forecasts_the_wrong_way_round() -> None:
    """P006: a warning, and an error where turning them would set off the alarm."""
    slight, strong = noise(skill=0.003), noise(skill=0.03)
    for table in (slight, strong):
        table["p_up"] = 1 - table["p_up"]

    assert [Level.WARN] == [f.level for f in found(slight, "P006")]
    assert [Level.ERROR] == [f.level for f in found(strong, "P006")]


def test_probabilities_worse_than_the_base_rate() -> None:
    """P007 and P008: overconfident forecasts lose to always saying the train's share."""
    table = noise()
    table["p_up"] = np.clip(0.5 + 8 * (table["p_up"] - 0.5), 0, 1)
    rates = {0: 0.5, 1: 0.5, 2: 0.5}

    assert [Level.WARN] == [f.level for f in found(table, "P007", train_up_rate=rates)]
    assert [Level.WARN] == [f.level for f in found(table, "P008")]
    assert [] == found(noise(), "P007", train_up_rate=rates)


def test_a_jump_in_the_share_called_up() -> None:
    """P010 names the step."""
    table = noise()
    table.loc[table["fold"] == 1, "threshold"] = 0.52
    (told,) = found(table, "P010")

    assert "fold 001" in told.where
    assert "2 of 2 steps" == told.observed


def test_scores_that_drift_from_validation() -> None:
    """P010 warns above 0.25 on the stability index and is silent on the same distribution."""
    rng = np.random.default_rng(1)
    same = {fold: 0.5 + 0.03 * rng.normal(size=2000) for fold in range(3)}
    moved = {**same, 1: same[1] + 0.03}

    assert [] == found(noise(), "P010", validation_scores=same)
    assert ["fold 001"] == [f.where for f in found(noise(), "P010", validation_scores=moved)]


def test_too_good_to_be_believed() -> None:
    """P011 is a warning above the ceiling and an error well above; P012 is always an error."""
    levels = [
        {f.level for f in found(noise(skill=skill), "P011") if f.where == "all"}
        for skill in (0.0, 0.0055, 0.03)
    ]

    assert [set(), {Level.WARN}, {Level.ERROR}] == levels
    assert [] == found(noise(skill=0.0055), "P012")
    assert Level.ERROR is found(noise(skill=0.2), "P012")[0].level


@pytest.mark.parametrize(
    ("hours", "warn", "error"),
    [(0.25, 0.58, 0.62), (1, 0.58, 0.62), (3, 0.58, 0.62), (4, 0.58, 0.63), (24, 0.58, 0.65)],
)
def test_ceilings_by_horizon(hours: float, warn: float, error: float) -> None:
    """The ceilings measured on clean quarters; between horizons the shorter one's holds."""
    found = ceilings(hours)

    assert (warn, error) == (found.auc_warn, found.auc_error)
    assert (0.56, 0.60) == (found.accuracy_warn, found.accuracy_error)


def test_a_simulated_market_knows_its_own_ceiling() -> None:
    """What beats the best reachable AUC is a leak; what real markets forbid may be right there."""
    table = noise(skill=0.012)

    assert found(table, "P011")
    assert [] == found(table, "P011", known_best={"best_auc": 0.75, "best_accuracy": 0.75})
    weak = noise(6000, skill=0.002)
    assert found(weak, "P011", known_best={"best_auc": 0.5, "best_accuracy": 0.5})


def test_folds_that_differ_more_than_chance() -> None:
    """P013: one fold that knows the answer among two that do not."""
    table = noise()
    leaking = noise(skill=0.01)
    table.loc[table["fold"] == 1, "p_up"] = leaking.loc[table["fold"] == 1, "p_up"]

    assert [Level.WARN] == [f.level for f in found(table, "P013")]


def test_a_horizon_widens_what_counts_as_an_alarm() -> None:
    """Overlapping rows are worth less: the same figures set off no alarm at 12 bars."""
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.normal(size=1213))
    forward = steps[12:] - steps[:-12]
    table = noise(1200, folds=1)
    table["label"] = pd.array((forward[:1200] > 0).astype(int), dtype="Int8")
    signal = np.convolve(rng.normal(size=1300), np.ones(40), "valid")[:1200]
    table["p_up"] = 0.5 + 0.02 * np.tanh(signal / 5 + 0.35 * np.sign(forward[:1200]))

    assert found(table, "P011", horizon=1)
    assert [] == found(table, "P011", horizon=12)
