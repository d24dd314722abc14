"""One command in a small workspace: undisturbed, and disturbed again and again at chosen points."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disturbed import Attempt, Zygote, differences, files_of, workspace, zygote

INPUTS = ("bars.csv", "small.yaml")


@dataclass
class Known:
    """A process to ask, and what a command comes to where nothing happens."""

    zygote: Zygote
    words: Sequence[str]
    whole: Attempt
    files: dict[str, Any]
    operations: list[str]
    costs: int = 1  # folds that each disturbance may have fitted again

    @property
    def data(self) -> str:
        """The bars of the workspace, as text."""
        return (self.zygote.template / "bars.csv").read_text(encoding="utf-8")

    def last(self, *words: str) -> int:
        """Return the number of the last operation that is described by all words."""
        numbered = enumerate(self.operations, 1)
        return max(number for number, told in numbered if all(word in told for word in words))

    def spread(self, count: int) -> list[int]:
        """Return so many points, evenly spread over the operations, the first and last too."""
        end = len(self.operations)
        return sorted({1 + round(n * (end - 1) / (count - 1)) for n in range(count)})

    def resumed_after(self, *faults: Attempt) -> tuple[list[Attempt], list[str]]:
        """Give a command with each fault in turn, then without; return how each ended, and faults.

        Wrong is whatever differs from the undisturbed one, a half-made result in sight, a changed
        input, a traceback, and more folds fitted again than so many disturbances may cost.
        """
        asked = [{"words": self.words, **fault} for fault in (*faults, {})]
        made = self.zygote.ask(*asked)
        wrong = [one for attempt in made for one in attempt["half_made"]]
        wrong += differences(self.files, files_of(self.zygote.left))
        for one in made:
            seen = [one["contents"].get(name) for name in INPUTS]
            if seen != [self.whole["contents"][name] for name in INPUTS]:
                wrong.append("an input is not what it was")
            if "Traceback" in one["told"] or "internal error" in one["told"]:
                wrong.append(one["told"])
        if made[-1]["code"] != self.whole["code"]:
            wrong.append(f"given again it ended with {made[-1]['code']}: {made[-1]['told']}")
        fits = [one["fits"] for one in made]
        if sum(fits) > self.whole["fits"] + self.costs * len(faults):
            wrong.append(f"{fits} folds were fitted")
        return made, wrong

    def killed(self, points: Sequence[int], fault: str = "SIGKILL") -> dict[int, list[str]]:
        """Kill the command at each point and give it again; return what was wrong, by point."""
        return self._killed([(at,) for at in points], fault)

    def killed_twice(self, first: Sequence[int], then: Sequence[int]) -> dict[Any, list[str]]:
        """Kill it at a point, give it again, and kill that one too, at each pair of points."""
        return self._killed(list(itertools.product(first, then)), "SIGKILL")

    def _killed(self, points: Sequence[tuple[int, ...]], fault: str) -> dict[Any, list[str]]:
        found = {}
        for place in points:
            made, wrong = self.resumed_after(*({"fault": fault, "at": at} for at in place))
            # Who is given again may be done before the point at which it was to be killed.
            codes = [one["code"] for one in made[:-1]]
            if codes[0] != -9 or not set(codes[1:]) <= {-9, self.whole["code"]}:
                wrong.append(f"ended with {codes}")
            if wrong:
                found[place if len(place) > 1 else place[0]] = wrong
        return found


@contextmanager
def undisturbed(
    place: Path,
    words: Sequence[str],
    *,
    warm: Sequence[Sequence[str]] | None = None,
    fill: Callable[[Path], None] | None = None,
    **changes: Any,
) -> Iterator[Known]:
    """Start a process for a command in the small workspace, and give it once undisturbed.

    ``changes`` replace sections of the workspace's configuration; ``warm`` are the commands given
    first, the command itself where there are none; ``fill`` puts more into the workspace.
    """
    template = workspace(place / "template", **changes)
    if fill is not None:
        fill(template)
    with zygote(template, place / "runs", [words] if warm is None else warm) as process:
        (whole,) = process.ask({"words": words, "list": True})
        assert [] == whole["half_made"]
        assert "internal error" not in whole["told"]
        yield Known(process, words, whole, files_of(process.left), whole["list"])
