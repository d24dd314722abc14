"""What ``compute.deterministic`` takes: one thread in every stage that sums numbers.

Models are fitted and asked with ``compute.threads``, which the configuration sets to 1 then. What
is left are the linear algebra libraries under numpy and scipy (the choice of features, the
intervals): how they cut a product among threads may move a last bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from threadpoolctl import threadpool_limits

from perpwalk.config import ComputeSection
from perpwalk.run_config import config_of
from perpwalk.runs import Run


@contextlib.contextmanager
def one_thread(compute: ComputeSection) -> Iterator[None]:
    """Hold the libraries to one thread inside the block if ``compute`` asks for the same bits."""
    if not compute.deterministic:
        yield
        return
    with threadpool_limits(1):
        yield


def is_exact(run: Run) -> bool:
    """Return whether a finished run was computed so."""
    return config_of(run).compute.deterministic
