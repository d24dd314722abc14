"""Names compared without case, spaces and punctuation."""

from __future__ import annotations

import re


def compact(name: str) -> str:
    """Return a name without case, spaces and punctuation.

    >>> compact("Open time") == compact("open_time") == compact("openTime")
    True
    """
    return re.sub(r"[^a-z0-9]+", "", name.lower())
