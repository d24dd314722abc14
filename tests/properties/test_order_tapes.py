"""Any orders of every kind: each fills where it may, the money adds up, nothing sees ahead."""

from __future__ import annotations

from account_scenarios import Scenario
from hypothesis import given, settings
from hypothesis import strategies as st
from order_tapes import Tape, account_of, check, same_until, tapes

MANY = settings.default is not None and settings.default.max_examples > 1000


@given(tapes())
@settings(max_examples=4_000 if MANY else 30)
def test_an_account_of_any_orders_keeps_to_the_rules(drawn: tuple[Scenario, Tape]) -> None:
    """Limits never pay more, stops never fill unreached, fees are their rate's, equity balances."""
    scenario, tape = drawn

    check(scenario, account_of(scenario, tape))


@given(tapes(), st.integers(1, 99))
@settings(max_examples=1_000 if MANY else 8)
def test_what_is_done_at_a_bar_does_not_depend_on_the_bars_after_it(
    drawn: tuple[Scenario, Tape], share: int
) -> None:
    """A replay that ends early has the same book and fills up to there, bit for bit."""
    scenario, tape = drawn
    whole = account_of(scenario, tape)
    cut = max(2, len(whole.equity) * share // 100)

    same_until(whole, account_of(scenario, tape, until=cut), cut)
