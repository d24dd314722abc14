"""Features of the user's own: loading the file, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import FeaturesSection
from perpwalk.domain import BarFrame, FundingFrame
from perpwalk.errors import ConfigError, UsageError
from perpwalk.features import FeatureSet, feature, feature_set

HEAD = "import numpy as np\nfrom perpwalk.features import PastBars, feature, rolling_mean\n"
GOOD = HEAD + (
    "@feature(lookback=3, group='mine')\n"
    "def to_mean(past: PastBars):\n"
    "    return past.close / rolling_mean(past.close, 3) - 1\n"
)


@pytest.fixture
def bars() -> BarFrame:
    closes = np.array([100.0, 102.0, 101.0, 104.0, 103.0])
    table = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": 1.0},
        index=pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC"),
    )
    return BarFrame.of(table, symbol="ETHUSDT", interval=pd.Timedelta("1h"))


def loaded(folder: Path, source: str, *, include: tuple[str, ...] = ("mine",)) -> FeatureSet:
    file = folder / "my_features.py"
    file.write_text(source, encoding="utf-8")
    return feature_set(FeaturesSection(modules=(str(file),), include=include), funding=False)


def failing(body: str) -> str:
    return HEAD + f"@feature(lookback=2, group='mine')\ndef broken(past):\n    {body}\n"


def test_a_decorated_function_in_a_users_file_is_a_feature(tmp_path: Path, bars: BarFrame) -> None:
    """
    It is found by name and group, and undefined until its look-back is complete.
    """
    chosen = loaded(tmp_path, GOOD)
    frame = chosen.compute(bars, FundingFrame.empty("ETHUSDT"))

    assert (("to_mean",), 3) == (chosen.names, chosen.lookback)
    assert np.isnan(frame.values[:2, 0]).all()
    assert frame.values[2, 0] == pytest.approx(101 / 101 - 1)
    assert frame.values[4, 0] == pytest.approx(103 / (308 / 3) - 1)


def test_a_users_features_come_beside_the_built_in_ones(tmp_path: Path) -> None:
    """
    Without `include` all built-in features are kept and the user's come last.
    """
    names = loaded(tmp_path, GOOD, include=()).names

    assert "log_return_1" == names[0]
    assert "to_mean" == names[-1]


def test_a_file_is_read_again_after_it_changed(tmp_path: Path) -> None:
    """
    Loading twice from one path gives what the file says now.
    """
    assert ("to_mean",) == loaded(tmp_path, GOOD).names
    assert ("renamed",) == loaded(tmp_path, GOOD.replace("to_mean", "renamed")).names


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "defines no feature"),
        ("def f(:\n", "cannot be loaded: SyntaxError"),
        ("import no_such_module_here\n", "cannot be loaded: ModuleNotFoundError"),
        (GOOD.replace("to_mean", "rsi_14"), "'rsi_14', a name in use"),
        (GOOD.replace("lookback=3", "lookback=0"), "lookback must be a whole number"),
        (GOOD.replace("'mine'", "'my group'"), "group 'my group' is not usable"),
        (
            HEAD + "from perpwalk.features import BUILT_IN\nrsi = BUILT_IN[0]\n",
            "defines no feature",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, source: str, message: str) -> None:
    """
    The error names the key, the file and what is wrong in it.
    """
    with pytest.raises(ConfigError, match=message) as caught:
        loaded(tmp_path, source)

    assert "features.modules" == caught.value.key
    assert "my_features.py" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """
    The path that does not exist stands in the message.
    """
    section = FeaturesSection(modules=(str(tmp_path / "absent.py"),))
    with pytest.raises(ConfigError, match=r"no Python file at .*absent\.py"):
        feature_set(section, funding=False)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return past.close[1:]", r"'broken' .* returned shape \(4,\) for 5 bars"),
        ("return past.close / 0.0", r"'broken' .* is inf at 2024.* \(4 of 5 are not finite\)"),
        ("return 1.0", r"'broken' .* returned shape \(\) for 5 bars"),
        ("return ['a'] * 5", "'broken' .* must return numbers"),
        ("return 1 / 0", "'broken' .* failed: ZeroDivisionError"),
        ("past.close[0] = 1.0", "'broken' .* failed: ValueError: .*read-only"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_feature_that_misbehaves_is_named(
    tmp_path: Path, bars: BarFrame, body: str, message: str
) -> None:
    """
    Wrong shapes, infinities and exceptions end in one message with the feature's name and file.
    """
    with pytest.raises(UsageError, match=message) as caught:
        loaded(tmp_path, failing(body)).compute(bars, FundingFrame.empty("ETHUSDT"))

    assert "my_features.py" in str(caught.value)


def test_the_original_exception_carries_a_note(tmp_path: Path, bars: BarFrame) -> None:
    """
    Under --debug the user's own traceback says which feature was computed.
    """
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, failing("return 1 / 0")).compute(bars, FundingFrame.empty("ETHUSDT"))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "feature 'broken'" in caught.value.__cause__.__notes__[0]


def test_what_a_feature_returns_stays_its_own(bars: BarFrame) -> None:
    """
    Blanking the warm-up does not write into an array the feature returned.
    """
    kept = np.arange(5.0)

    @feature(lookback=3)
    def counting(past: object) -> np.ndarray:
        return kept

    frame = FeatureSet((counting,)).compute(bars, FundingFrame.empty("ETHUSDT"))

    assert [0.0, 1.0, 2.0, 3.0, 4.0] == kept.tolist()
    assert [2.0, 3.0, 4.0] == frame.values[2:, 0].tolist()
