"""The house stands where it should: packages come from this project, and stay light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import engine
import perpwalk
import strategies

ROOT = Path(__file__).parents[2]


def test_the_three_packages_are_ours() -> None:
    """No other installed package of the same name shadows them."""
    assert ROOT / "src" / "perpwalk" == Path(perpwalk.__file__).parent
    assert ROOT / "engine" == Path(engine.__file__).parent
    assert ROOT / "strategies" == Path(strategies.__file__).parent


def test_help_does_not_pay_for_heavy_packages() -> None:
    """``perpwalk --help`` and ``import perpwalk`` import none of the packages that take seconds."""
    code = (
        "import sys, engine.cli, perpwalk; "
        "heavy = 'torch xgboost quantstats sklearn backtrader pandas numpy numba scipy arch "
        "statsmodels matplotlib plotly pyarrow ccxt joblib'.split(); "
        "print([m for m in heavy "
        "if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_waiting_threads_are_told_not_to_spin_unless_the_user_says_otherwise() -> None:
    """The setting is there before torch loads, and a setting of the user's is left alone."""
    code = (
        "import os, sys, perpwalk.models; "
        "print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )

    def said(**extra: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={**kept, **extra},
        )  # fmt: skip
        return done.stdout.strip()

    assert "1000 False" == said()
    assert "5 False" == said(GOMP_SPINCOUNT="5")
    assert "None False" == said(OMP_WAIT_POLICY="ACTIVE")
