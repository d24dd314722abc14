"""Whether funding and prices come from one venue, as far as names and habits tell.

Two exchanges' rates cannot be told apart by numbers (``docs/data.md``), so this goes by the words
of folders, files and columns, and by one habit: Bybit's bars open exactly where the last closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perpwalk.data.names import compact
from perpwalk.domain import Finding, FloatArray, Level

VENUES = (
    "binance", "bybit", "okx", "okex", "bitget", "kucoin", "gate", "mexc", "huobi", "htx", "kraken",
    "bitmex", "deribit", "hyperliquid", "coinbase", "bitfinex", "dydx", "phemex",
)  # fmt: skip
ENOUGH_BARS = 300


@dataclass(frozen=True)
class Origin:
    """What the name, the columns and the layout of a file say of where it comes from."""

    path: Path
    names: tuple[str, ...]
    layout: str

    @property
    def label(self) -> str:
        """A file's name with its folder's: two sources of one thing often have one name."""
        return "/".join(self.path.parts[-2:])

    @property
    def venues(self) -> set[str]:
        """The venues that it speaks of."""
        parts = [part.lower() for part in (*self.path.parts[-4:], *self.names)]
        words = {word for part in parts for word in re.split(r"[^a-z]+", part)}
        found = {venue for venue in VENUES if venue in words}
        if any(compact(name) == "fundingratetimestamp" for name in self.names):
            found.add("bybit")  # no other exchange calls the stamp so
        if self.layout.startswith("binance"):
            found.add("binance")
        return found


def other_venue(
    funding: Origin, bars: Origin, opened: FloatArray, closed: FloatArray
) -> Iterator[Finding]:
    """Warn where the funding seems to be of another venue than the bars (D016)."""
    told, ours = funding.venues, bars.venues
    signs = []
    if told and ours and not told & ours:
        signs.append(f"names say {', '.join(sorted(told))} and {', '.join(sorted(ours))}")
    if "bybit" in told and "bybit" not in ours and len(opened) >= ENOUGH_BARS:
        joins = float((opened[1:] == closed[:-1]).mean())
        if joins < 0.9:
            signs.append(
                f"Bybit's bars open where the last one closed, only {joins:.0%} of these do"
            )
    if signs:
        yield Finding(
            code="D016",
            level=Level.WARN,
            where=f"funding {funding.label}",
            message=f"the funding may be of another venue than {bars.label}: " + "; ".join(signs),
            why="each venue has its own premium: rates of another one are not what was paid",
            advice="take funding and prices from one exchange",
        )
