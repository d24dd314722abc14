"""What must hold for any account, over generated markets, settings and targets."""

from __future__ import annotations

import numpy as np
from account_scenarios import Scenario, scenarios
from decimal_account import DecimalAccount
from hypothesis import given

from perpwalk.recompute import compare


@given(scenarios())
def test_the_compiled_account_is_the_exact_one(scenario: Scenario):
    """
    The compiled ledger and the one in exact decimals agree to 1e-9 of equity, record by record.
    """
    exact = DecimalAccount(scenario.market, scenario.targets, scenario.broker).run()
    compiled = scenario.ledger()

    worst, finding = compare(exact, compiled)

    assert finding is None, finding
    assert worst <= 1e-9
    assert exact.orders["status"].tolist() == compiled.orders["status"].tolist()
    assert exact.orders["reason"].tolist() == compiled.orders["reason"].tolist()
    np.testing.assert_allclose(
        compiled.orders["filled_quantity"].astype(float),
        exact.orders["filled_quantity"].astype(float),
        rtol=1e-9,
    )
