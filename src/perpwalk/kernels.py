"""Functions compiled to machine code that is kept on disk, where there is a place to keep it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kept(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles with numba and keeps the machine code.

    It is kept beside the source, or in the user's cache folder, or where ``NUMBA_CACHE_DIR`` says.
    Where none of them can be written to, as in a container with a read-only disk, each process
    compiles for itself.
    """

    def compiled(function: F) -> F:
        try:
            kernel: F = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba's word for: nowhere to keep it
            kernel = numba.njit(**options)(function)
        return kernel

    return compiled
