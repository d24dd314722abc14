"""A fetch from a faulty service, killed again and again, ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fetch_driver
import pytest
from exchange_server import Market, Services, ms
from fetching import endpoints, handed_out_twice, kept

NOW = ms("2025-01-04T12:34:56")
# Two bars only the archive lacks and a day that nobody has: the API is needed in the middle too.
MARKET = Market(
    archive_lost=(ms("2023-02-11T03:00"), ms("2023-02-11T04:00")),
    lost=tuple(range(ms("2024-08-07T00:00"), ms("2024-08-08T00:00"), 3_600_000)),
)


def _services(seed: int, share: float) -> Services:
    return Services(
        now=NOW,
        markets={"ETHUSDT": MARKET},
        archive_until=ms("2025-01-03"),
        monthly_until=ms("2025-01-01"),
        fault_share=share,
        seed=seed,
    )


class _Killer:
    """Kills the fetching process at one request: before its answer, or just after."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._at, self._after = at, after
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, number: int) -> None:
        if number == self._at and self.process is not None:
            if self._after:
                # The answer goes out and is being parsed or written when the process ends.
                threading.Timer(0.004, self._kill).start()
            else:
                self._kill()

    def _kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)


def _run(of: Services, root: Path, asked: dict[str, object], killer: _Killer | None) -> int:
    """Fetch in a process of its own and return its exit code."""
    path = Path(fetch_driver.__file__)
    with endpoints(of) as places:
        settings = json.dumps(dataclasses.asdict(places))
        command = [sys.executable, str(path), str(root), json.dumps(asked), settings, str(NOW)]
        places_of_code = [str(path.parent), *sys.path]
        process = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places_of_code))}
        )
        if killer is not None:
            killer.process = process
            of.on_request = killer
        return process.wait()


def _killed_and_undisturbed(tmp_path: Path, since: str, kills: int, seed: int) -> None:
    """Hold a fetch killed ``kills`` times to one that nothing disturbed."""
    draw = random.Random(seed)  # noqa: S311
    asked: dict[str, object] = {
        "exchange": "binance", "symbol": "ETHUSDT", "interval": "1h", "since": ms(since),
    }  # fmt: skip
    undisturbed = _services(seed=0, share=0.0)
    assert 0 == _run(undisturbed, tmp_path / "whole", asked, None)
    every = undisturbed.requests // (kills + 1)

    faulty = _services(seed=seed, share=0.05)
    died = 0
    for _ in range(kills):
        killer = _Killer(faulty.requests + 1 + draw.randrange(every), after=draw.random() < 0.5)
        died += _run(faulty, tmp_path / "killed", asked, killer) == -signal.SIGKILL
    assert 0 == _run(faulty, tmp_path / "killed", asked, None)

    assert kills == died
    assert sum(faulty.faulty.values()) > 0
    assert kept(tmp_path / "whole") == kept(tmp_path / "killed")
    assert handed_out_twice(undisturbed) == 0
    assert handed_out_twice(faulty) <= kills  # what was in flight, and no more


def test_a_killed_fetch_ends_as_if_undisturbed(tmp_path):
    """Killed three times at random amid faults, half a year ends byte for byte the same."""
    _killed_and_undisturbed(tmp_path, since="2024-07-01", kills=3, seed=11)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_years_killed_ten_times_end_as_if_undisturbed(tmp_path, seed):
    """Five years of bars, funding and mark prices, one answer in twenty faulty, ten kills."""
    _killed_and_undisturbed(tmp_path, since="2020-01-01", kills=10, seed=seed)
