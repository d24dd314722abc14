"""A process that fetches, to be killed: `fetch_driver.py ROOT ASKED ENDPOINTS NOW` (JSON)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fetching import StillClock

from perpwalk.fetch import Asked, Endpoints, fetch


def main() -> None:
    """Fetch with a clock that stands still, so that two runs differ by nothing but their luck."""
    root, asked, endpoints, now = sys.argv[1:]
    fetch(
        Asked(**json.loads(asked)),
        Path(root),
        clock=StillClock(int(now)),
        endpoints=Endpoints(**json.loads(endpoints)),
    )


if __name__ == "__main__":
    main()
