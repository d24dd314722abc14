"""Many tasks on many processes or machines, through one interface over joblib.

``loky`` are processes on this machine, ``dask`` and ``ray`` are clusters. Whoever it is: what tasks
have in common is shipped once to each worker, results come back as they are ready, and what was
under way on a worker that died is done again by another. A task returns what went wrong in it, so
whatever is raised is the crew's own trouble.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

from engine.progress import Reporter
from perpwalk import disk
from perpwalk.config import ComputeSection
from perpwalk.errors import EnvironmentFailedError, UsageError

Backend = Literal["loky", "dask", "ray"]
R = TypeVar("R")
ATTEMPTS = 3  # starts without a single result, or of one task, before it is given up
CONNECT_SECONDS = 30
_LOOK_SECONDS = 1  # between two looks of a worker at whether its owner lives
WORKER_BYTES = 1 << 30  # a worker with torch and a fold takes half of it; the asking process, too
_INSTALL = "pip install 'perpwalk[cluster]'"


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    Attributes
    ----------
    jobs
        Tasks at a time; 0 is one on this machine and all that a cluster has.
    backend, address
        ``loky``, or a ``dask`` or ``ray`` cluster: the one at ``address``, or a local one of its
        own.
    threads
        Threads of each task.
    """

    jobs: int = 0
    backend: Backend = "loky"
    address: str | None = None
    threads: int = 1

    @classmethod
    def of(cls, section: ComputeSection, tasks: int | None = None) -> Crew:
        """Return the crew that ``compute`` asks for; its tasks share this machine's cores.

        Of ``tasks``, where their number is known, ``auto`` takes no more at a time than there are.
        """
        here = section.backend == "loky" or section.address is None
        threads = section.threads
        if section.jobs != "auto":
            jobs = section.jobs
        else:
            most = min(joblib.cpu_count(), _fit_in_memory())
            jobs = max(1, most if tasks is None else min(most, tasks)) if here else 0
        if threads == 0:
            threads = max(1, joblib.cpu_count() // jobs) if here and jobs else 1
        return cls(jobs, section.backend, section.address, threads)

    @property
    def alone(self) -> bool:
        """Whether there is nobody to share the work with."""
        return self.backend == "loky" and self.jobs <= 1

    def in_words(self) -> str:
        """Return who works and with how many threads each."""
        who = {
            "loky": f"{self.jobs} processes",
            "dask": "the dask workers",
            "ray": "the ray workers",
        }[self.backend]
        where = "" if self.address is None else f" at {self.address}"
        return f"{who}{where}, {self.threads} thread{'s' if self.threads > 1 else ''} each"

    def run(
        self,
        task: Callable[..., R],
        common: Sequence[Any],
        items: Sequence[tuple[int, Any]],
        tell: Reporter,
    ) -> Iterator[tuple[int, R]]:
        """Yield the number and the result of each item as it is done.

        Parameters
        ----------
        task
            A function at the top of a module, called with ``common[which]`` and ``what``.
        common
            What items share, large; shipped once to each worker.
        items
            ``(which, what)``.

        Raises
        ------
        EnvironmentFailedError
            The workers cannot be reached, or die again and again without finishing anything.
        """
        left = dict(enumerate(items))
        fruitless = 0
        while left:
            before = len(left)
            try:
                with _ENTER[self.backend](self, common) as (parallel, ship):
                    calls = (
                        joblib.delayed(_numbered)(number, task, ship(which), what)
                        for number, (which, what) in list(left.items())
                    )
                    for number, result in parallel(calls):
                        del left[number]
                        yield number, result
            except (EnvironmentFailedError, UsageError):
                raise
            except Exception as error:  # a dead worker shows itself in as many ways as backends
                fruitless = 0 if len(left) < before else fruitless + 1
                said = f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
                if fruitless == ATTEMPTS:
                    raise EnvironmentFailedError(
                        f"the {self.backend} workers failed {ATTEMPTS} times without finishing "
                        f"one of {len(left)} tasks; the last time: {said}"
                    ) from error
                tell.say(f"a worker was lost ({said}); {len(left)} tasks are given out again")


def _fit_in_memory() -> int:
    """Return how many workers this machine has memory for."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # nobody to ask, as on Windows
        return int(joblib.cpu_count())
    return found // WORKER_BYTES


def _numbered(number: int, task: Callable[..., R], common: Any, what: Any) -> tuple[int, R]:
    """Call a task where it was sent; runs on the worker."""
    return number, task(_opened(common), what)


# ── what is shipped once ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _InFile:
    """Lies in a file that the workers of the process ``owner`` map into memory."""

    path: str
    owner: int


@dataclass(frozen=True)
class _InRay:
    """Lies in the object store of each ray node."""

    reference: Any


def _opened(common: Any) -> Any:
    if isinstance(common, _InFile):
        if common.owner != os.getpid():
            _leave_with(common.owner)
        return _mapped(common.path)
    if isinstance(common, _InRay):
        import ray

        return ray.get(common.reference)
    return common  # dask has put it in its place


@functools.lru_cache(maxsize=4)
def _mapped(path: str) -> Any:
    return joblib.load(path, mmap_mode="r")


@functools.cache
def _leave_with(owner: int) -> None:
    """End this worker soon after the process it works for: what was killed asks for nothing more.

    Otherwise it would finish its fit beside whoever takes the run up again, and then hold its
    memory for minutes.
    """
    threading.Thread(target=_end_after, args=(owner,), daemon=True).start()


def _end_after(owner: int) -> None:
    while os.getppid() == owner:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)  # like a kill: nothing half-made is ever in sight


# ── backends ─────────────────────────────────────────────────────────────────────────────────────

Parallel = Callable[[Iterator[Any]], Iterator[Any]]
Ship = Callable[[int], Any]
Entered = Iterator[tuple[Parallel, Ship]]


def _parallel(jobs: int) -> Parallel:
    # Said by joblib where a task has failed and the rest is called off: that has been told already.
    warnings.filterwarnings(
        "ignore", message="[0-9]+ tasks (which were|have been)", module="joblib"
    )
    made: Parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    return made


@contextlib.contextmanager
def _loky(crew: Crew, common: Sequence[Any]) -> Entered:
    with disk.scratch() as folder:  # what a killed process left is removed by the next
        files = [
            _InFile(str(folder / f"{number}.joblib"), os.getpid()) for number in range(len(common))
        ]
        for file, one in zip(files, common, strict=True):
            joblib.dump(one, file.path)
        with joblib.parallel_config("loky", inner_max_num_threads=crew.threads):
            yield _parallel(max(1, crew.jobs)), files.__getitem__
        # Idle ones would hold half a gigabyte each while the account is kept and judged.
        get_reusable_executor().shutdown(wait=True)


@contextlib.contextmanager
def _dask(crew: Crew, common: Sequence[Any]) -> Entered:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(f"--backend dask needs dask.distributed: {_INSTALL}") from error
    with contextlib.ExitStack() as stack:
        place: Any = crew.address
        if place is None:
            workers = crew.jobs or joblib.cpu_count()
            place = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(
                Client(place, set_as_default=False, timeout=CONNECT_SECONDS)
            )
        except (OSError, ValueError) as error:
            raise EnvironmentFailedError(
                f"no dask scheduler answers at {crew.address}: {error}; start `dask scheduler` and "
                "`dask worker`, or leave out --address for workers on this machine"
            ) from error
        # joblib puts what is large on the workers that need it, once on each.
        with joblib.parallel_config("dask", client=client):
            yield _parallel(-1), common.__getitem__


@contextlib.contextmanager
def _ray(crew: Crew, common: Sequence[Any]) -> Entered:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        from ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise UsageError(f"--backend ray needs ray: {_INSTALL}") from error

    class Streaming(RayBackend):
        """Ray's pool under joblib, which calls back and so can hand on results as they come."""

        supports_return_generator = True

    joblib.register_parallel_backend("perpwalk-ray", Streaming)
    ours = not ray.is_initialized()
    if ours:
        _start_ray(ray, crew)
    try:
        shipped = [_InRay(ray.put(one)) for one in common]
        with joblib.parallel_config("perpwalk-ray"):
            yield _parallel(crew.jobs or -1), shipped.__getitem__
    finally:
        if ours:
            ray.shutdown()


def _start_ray(ray: Any, crew: Crew) -> None:
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if crew.address is None:
        ray.init(num_cpus=crew.jobs or joblib.cpu_count(), include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=crew.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EnvironmentFailedError(
            f"no ray cluster answers at {crew.address}: {error}; start `ray start --head`, or "
            "leave out --address for workers on this machine"
        ) from error


_ENTER: dict[Backend, Callable[[Crew, Sequence[Any]], Any]] = {
    "loky": _loky,
    "dask": _dask,
    "ray": _ray,
}
