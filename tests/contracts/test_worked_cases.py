"""Every worked numeric case of the specification is reproduced by a test that names it.

The cases' data are no part of the repository: each test restates the numbers it needs. This file
keeps the list. Where the folder of cases lies beside the data (``PERPWALK_DATA``), the list is held
against it, so that a case added there cannot be overlooked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
DATA = Path(os.environ.get("PERPWALK_DATA", TESTS.parent.parent / "shared/data"))
CASES = DATA.parent / "cases/methods.json"

REPRODUCED = {
    "unit/test_uncertainty_proportions.py": [
        "wilson_4142_8129", "wilson_8155_8155", "clopper_all", "perm_p", "sidak_12", "sidak_100",
    ],
    "unit/test_uncertainty_bootstrap.py": [
        "overlap_vif_h1", "overlap_vif_h4", "overlap_vif_h24", "politis_white",
        "sb_variance_mean", "shift_agreement_h1", "shift_agreement_h4", "shift_agreement_h24",
        "mde_acc_0.01_1.0", "mde_acc_0.01_17.5", "mde_auc_0.005", "mde_auc_0.02",
    ],
    "unit/test_uncertainty_auc.py": ["delong_pair", "auc_null_4142_3987", "auc_null_50_50"],
    "unit/test_uncertainty_calibration.py": ["brier_ece", "sigmoid_of_01", "psi"],
    "unit/test_uncertainty_direction.py": ["pesaran_timmermann", "anatolyev_gerko"],
    "unit/test_uncertainty_paired.py": [
        "ledoit_wolf", "mcnemar_150_86", "dm_negative_variance", "dm_h1",
    ],
    "unit/test_uncertainty_sharpe.py": [
        "psr_paper", "mintrl_daily", "mintrl_monthly", "dsr_paper", "emax_7", "emax_10",
        "emax_100", "emax_1000", "sharpe_12", "lo_eta_ar1_0.0", "lo_eta_ar1_0.2",
        "psr_2026_rho0.0",
    ],
    "unit/test_uncertainty_overfitting.py": ["pbo_small"],
    "unit/test_uncertainty_multiple.py": ["spa_stepm_mcs"],
    "unit/test_simulate.py": [
        "gauss_auc_rho0.02", "gauss_auc_rho0.1", "gauss_auc_rho0.2", "gauss_auc_rho1.0",
    ],
    "unit/test_metrics.py": ["degenerate_metrics"],
    "unit/test_metrics_returns.py": [
        "breakeven_acc_30.8_10", "breakeven_acc_34.3_10", "breakeven_acc_184.8_10",
        "breakeven_acc_34.3_4",
    ],
    "unit/test_folds.py": ["walkforward_expanding"],
    "unit/test_perp.py": ["liq_long_1", "liq_short_1"],
    "unit/test_data_funding.py": ["funding_coverage"],
    "golden/test_golden_account.py": ["pnl_identity"],
}  # fmt: skip


@pytest.mark.parametrize("name", REPRODUCED)
def test_each_case_is_named_where_it_is_reproduced(name: str) -> None:
    """Whoever takes a case out of a test finds out here."""
    text = (TESTS / name).read_text(encoding="utf-8")

    assert [] == [case for case in REPRODUCED[name] if case not in text]


def test_no_case_is_listed_twice() -> None:
    """58 cases, each in one place."""
    listed = [case for cases in REPRODUCED.values() for case in cases]

    assert len(set(listed)) == len(listed) == 58


def numbers(value: Any) -> Iterator[float]:
    """Yield every number that is no plain 0 or 1."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value not in (0, 1):
        yield value
    elif isinstance(value, str) and value.replace(".", "").replace("-", "").isdigit():
        yield float(value)


@pytest.mark.skipif(not CASES.is_file(), reason=f"no worked cases at {CASES} (set PERPWALK_DATA)")
def test_no_case_of_the_specification_is_missing() -> None:
    """The list is complete, and each test states a number that its case expects."""
    cases = {case["id"]: case for case in json.loads(CASES.read_text())["cases"]}
    listed = {case: name for name, cases in REPRODUCED.items() for case in cases}
    unlike = []
    for key, case in cases.items():
        text = (TESTS / listed.get(key, "unit/test_simulate.py")).read_text(encoding="utf-8")
        shown = [repr(one)[:10] for one in numbers(case["expected"])]
        if shown and not any(one.rstrip("0") in text for one in shown):
            unlike.append(key)

    assert set(cases) == set(listed)
    assert [] == unlike
