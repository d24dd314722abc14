"""The last answers to questions that cost much and come again: same question, same answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """So many answers by their questions; the one not asked for longest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[K, V] = OrderedDict()

    def get(self, question: K, answer: Callable[[], V]) -> V:
        """Return what ``answer`` came to when ``question`` was first asked; what fails is not kept.

        >>> squares = Remembered[int, int](2)
        >>> [squares.get(n, lambda n=n: n * n) for n in (3, 4, 3, 5)]
        [9, 16, 9, 25]
        """
        if question not in self._known:
            self._known[question] = answer()
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        self._known.move_to_end(question)
        return self._known[question]
