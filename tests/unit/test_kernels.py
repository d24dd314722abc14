"""Compiled functions where there is nowhere to keep what was compiled."""

from __future__ import annotations

import pytest
from numba.core import caching

from perpwalk import kernels


def test_without_a_place_to_keep_it_a_function_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a read-only disk without a home folder: numba finds no locator."""
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    @kernels.kept(nogil=True)
    def twice(number: int) -> int:
        return 2 * number

    assert 6 == twice(3)
