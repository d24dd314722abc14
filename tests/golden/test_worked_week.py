"""The week that the documentation works out by hand."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from decimal_account import DecimalAccount

from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.recompute import compare

PAGE = Path(__file__).parents[2] / "docs" / "worked_week.md"


@pytest.fixture(scope="module")
def week() -> dict[str, object]:
    """Run the page's examples and return the names they leave behind."""
    names: dict[str, object] = {}
    # A fence right below an output would be read as part of it.
    text = re.sub(r"^```.*$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, names, PAGE.name, str(PAGE), 0)
    failed, tried = doctest.DocTestRunner(verbose=False).run(test, clear_globs=False)
    assert (0, True) == (failed, tried > 50)
    return test.globs


def test_every_number_of_the_page_is_computed(week):
    """
    The page's numbers, worked out by hand and by the compiled ledger, are the same.
    """
    assert 8527.666027 == round(week["cash"], 6)


def test_the_week_in_exact_decimals(week):
    """
    The account in exact decimals agrees with the page's ledger.
    """
    exact = DecimalAccount(week["market"], week["decisions"], week["broker"]).run()

    assert compare(exact, week["ledger"])[1] is None


def test_the_week_replayed_by_backtrader(week):
    """
    Backtrader's broker agrees with the page's ledger.
    """

    class TwoDecisions(SignalStrategy):
        def next(self):
            if self.data.bar in week["decisions"]:
                self.order_target_size(target=week["decisions"][self.data.bar])

    replayed = replay([ReplayMarket(week["market"])], TwoDecisions, {}, week["broker"])

    assert compare(replayed, week["ledger"])[1] is None
