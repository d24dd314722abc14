"""``perpwalk verify``: is the run what it says it is.

The six steps the predecessor named (model files, configuration, data loading, split, feature
extraction, architecture) as real checks, and two more (files, account). Apart from fitting,
everything is done again from the raw data and the stored artifacts, written to a temporary folder
and compared byte by byte with what the run left. A check whose ground has failed is *not possible*,
which is no *yes* either.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.verification import account, artifacts, inputs
from engine.verification.facts import Facts, FailedError, Look, NotPossibleError
from perpwalk.audit.verification import Check, Status, Verification
from perpwalk.errors import PerpwalkError, UsageError
from perpwalk.run_config import UnnamedCodeError
from perpwalk.runs import PARTIAL, without_links

SAMPLES = 24
STEPS = (*inputs.STEPS, *artifacts.STEPS, *account.STEPS)


def verify_run(
    folder: Path | str, *, samples: int = SAMPLES, code: Sequence[str] = ()
) -> Verification:
    """Verify the run in ``folder``.

    Parameters
    ----------
    folder
        The run's folder under its own name, which holds the digest.
    samples
        Test decisions per run whose features are computed again from the bars up to them alone.
    code
        Code that the run names and that may be loaded (see ``run_config.config_to_load``).

    Raises
    ------
    UsageError
        There is no run folder, it is an interrupted run, holds a link, or names code of its own.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"no run at {path}; `perpwalk runs` lists what there is")
    if path.name.endswith(PARTIAL):
        raise UsageError(f"{path} is an interrupted run; give its `run` command again to resume")
    with tempfile.TemporaryDirectory(prefix="perpwalk-verify-") as again:
        facts = Facts(without_links(path), Path(again), samples, tuple(code))
        checks = tuple(_look(step, what, look, facts) for step, what, look in STEPS)
    return Verification(run=str(path), checks=checks)


def _look(step: str, what: str, look: Look, facts: Facts) -> Check:
    try:
        return Check(step, what, Status.OK, look(facts))
    except UnnamedCodeError:
        raise
    except NotPossibleError as missing:
        return Check(step, what, Status.NOT_POSSIBLE, str(missing))
    except (FailedError, PerpwalkError) as wrong:
        return Check(step, what, Status.FAILED, str(wrong))
    except Exception as wrong:  # noqa: BLE001 - a damaged file may raise anything from its parser
        return Check(step, what, Status.FAILED, f"{type(wrong).__name__}: {wrong}")
