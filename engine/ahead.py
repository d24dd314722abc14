"""Fit what many variants will need before they are run: folds × variants × contracts as one pile.

Each fit goes into the cache, where the variants' runs then find it. Variants of one market and one
set of features go together, so that what they look at is shipped once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from engine import making
from engine.crew import Crew
from engine.foldtasks import Pending, fit_together
from engine.making import Shared
from engine.memory import Memory
from engine.progress import Reporter, Silent
from engine.stages import StageClock
from engine.walkforward import WalkForward
from perpwalk.config import Config
from perpwalk.errors import PerpwalkError


def fit_ahead(
    configs: Sequence[Config], shared: Shared, memory: Memory, crew: Crew, tell: Reporter
) -> None:
    """Let the crew fit every fold that the cache lacks.

    What goes wrong is left to the variant it belongs to: there it goes wrong again, and is said.
    """
    for _, group in itertools.groupby(configs, making.input_key):
        pending = []
        for config in {making.fit_key(one): one for one in group}.values():
            pending += _pending(config, shared, memory)
        if pending:
            tell.stage("fits", len(pending))
            tell.say(f"{len(pending)} folds to fit by {crew.in_words()}")
            fit_together(pending, crew, tell, strict=False)


def _pending(config: Config, shared: Shared, memory: Memory) -> list[Pending]:
    if config.walk_forward.warm_start:  # its folds are fitted in order, where the variant is run
        return []
    try:
        prepared = shared.prepare(
            config, shared.markets(config), clock=StageClock(), reporter=Silent()
        )
    except PerpwalkError:
        return []
    found = []
    for one in prepared:
        walk = WalkForward(one.config, one.features, one.labels, memory=memory)
        name = f"{one.config.model.kind} {one.market.symbol}"
        found += [Pending(walk, fold, name) for fold in one.folds if walk.lacks(fold)]
    return found
