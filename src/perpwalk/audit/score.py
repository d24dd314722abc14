"""What one set of forecasts comes to, in a few figures: to hold many repetitions side by side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one set of forecasts comes to on the run's own decisions and account.

    Attributes
    ----------
    auc, accuracy
        None where they are undefined (one class, constant forecast) or nothing was scored.
    null_sd
        Deviation of the AUC under no skill.
    total_return, sharpe
        Of the replay; None where none was made.
    forecasts, account
        Hashes of the forecasts and of the equity curve: equal ones are the same to the last bit.
    """

    auc: float | None
    accuracy: float | None
    null_sd: float | None
    rows: int
    total_return: float | None = None
    sharpe: float | None = None
    forecasts: str = ""
    account: str | None = None

    def in_words(self) -> str:
        """Return accuracy, AUC and net return in one line."""
        net = "" if self.total_return is None else f", net {self.total_return:+.1%}"
        return f"AUC {_number(self.auc)}, accuracy {_number(self.accuracy)}{net}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
