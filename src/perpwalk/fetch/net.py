"""The network, distrusted: what is worth another try, how long to wait, and plain downloads."""

from __future__ import annotations

import email.utils
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from perpwalk.errors import ConfigError, EnvironmentFailedError, PerpwalkError

ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; doubled after each failure
BUSY_WAIT = 30.0  # after 429 or 418 that does not say how long
LONGEST_OBEYED = 900.0  # an exchange that asks for a longer pause is left alone
TIMEOUT = (10.0, 30.0)  # seconds to connect, and between bytes
_CHUNK = 1 << 16

T = TypeVar("T")


class Clock:
    """The time, and waiting; tests have one that does not wait."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Endpoints:
    """Where the services are; mirrors and tests have their own.

    Attributes
    ----------
    archive, listing
        Binance's public archive, and the bucket that lists what is in it.
    ccxt
        Settings for the constructor of the ccxt exchange, such as ``urls`` or ``httpsProxy``.
    """

    archive: str = "https://data.binance.vision"
    listing: str = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
    ccxt: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> Endpoints:
        """Return them with what ``PERPWALK_ARCHIVE``, ``…_LISTING`` and ``…_CCXT`` say."""
        text = os.environ.get("PERPWALK_CCXT", "{}")
        try:
            settings = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"PERPWALK_CCXT is no JSON: {error}") from error
        if not isinstance(settings, dict):
            raise ConfigError("PERPWALK_CCXT is no JSON object of settings for ccxt")
        return cls(
            archive=os.environ.get("PERPWALK_ARCHIVE", cls.archive),
            listing=os.environ.get("PERPWALK_LISTING", cls.listing),
            ccxt=settings,
        )


class NoAnswerError(PerpwalkError):
    """A request failed in a way that may pass; ``wait`` is how long the service asks to pause."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(message)


class BadFileError(NoAnswerError):
    """A file came and is not what it should be."""


class AbsentError(PerpwalkError):
    """The service says there is no such thing."""


def persist(call: Callable[[], T], clock: Clock, say: Callable[[str], None]) -> T:
    """Call until there is an answer, waiting longer after each failure.

    Raises
    ------
    EnvironmentFailedError
        No answer after ``ATTEMPTS``, or the service asks for a very long pause.
    """
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except NoAnswerError as failed:
            wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
            wait = wait if failed.wait is None else max(wait, failed.wait)
            if wait > LONGEST_OBEYED or attempt == ATTEMPTS - 1:
                raise EnvironmentFailedError(
                    f"{failed}; {_given_up(wait, attempt)}. What has been fetched is kept: give "
                    "the same command again later to go on"
                ) from failed
            say(f"{failed}; trying again in {wait:.0f} s")
            clock.sleep(wait)
    raise AssertionError("unreachable")


def _given_up(wait: float, attempt: int) -> str:
    if wait > LONGEST_OBEYED:
        return f"the service asks for a pause of {wait / 60:.0f} minutes"
    return f"given up after {attempt + 1} tries"


def pause_asked(status: int, headers: Mapping[str, str], now_ms: int) -> float | None:
    """Return the seconds a response asks to wait: ``Retry-After`` as a number or a date.

    >>> pause_asked(429, {"Retry-After": "7"}, 0)
    7.0
    >>> pause_asked(503, {}, 0) is None
    True
    """
    text = headers.get("Retry-After", headers.get("retry-after", "")).strip()
    if text.isdigit():
        return float(text)
    if text:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return BUSY_WAIT
        return max(0.0, at.timestamp() - now_ms / 1000)
    return BUSY_WAIT if status in (418, 429) else None


class Web:
    """Downloads over HTTP."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        import requests

        self._session = requests.Session()
        self._clock, self._say = clock, say

    def get(
        self,
        url: str,
        *,
        limit: int,
        params: Mapping[str, str] | None = None,
        accept: Callable[[bytes], T],
    ) -> T:
        """Return what ``accept`` makes of the body; it raises NoAnswerError to have it again.

        Raises
        ------
        AbsentError
            The service answers 404.
        EnvironmentFailedError
            No good answer came.
        """
        return persist(lambda: accept(self._once(url, limit, params)), self._clock, self._say)

    def _once(self, url: str, limit: int, params: Mapping[str, str] | None) -> bytes:
        import requests

        name = url.rsplit("/", 1)[-1]
        try:
            with self._session.get(url, params=params, stream=True, timeout=TIMEOUT) as response:
                self._check(response.status_code, response.headers, url)
                return _body(response, limit, name)
        except requests.Timeout as error:
            raise NoAnswerError(f"{name}: no answer in time") from error
        except requests.RequestException as error:
            raise NoAnswerError(f"{name}: the connection failed ({_cause(error)})") from error

    def _check(self, status: int, headers: Mapping[str, str], url: str) -> None:
        if status == 200:
            return
        if status == 404:
            raise AbsentError(f"{url}: there is no such file")
        if status in (401, 403, 451):
            raise EnvironmentFailedError(
                f"{url}: refused with status {status}; is the service open to your network?"
            )
        wait = pause_asked(status, headers, self._clock.now_ms())
        raise NoAnswerError(f"{url.rsplit('/', 1)[-1]}: status {status}", wait=wait)


def _body(response: Any, limit: int, name: str) -> bytes:
    """Read the body, up to ``limit`` bytes, and hold it to the length that was announced."""
    parts, size = [], 0
    for part in response.iter_content(_CHUNK):
        size += len(part)
        if size > limit:
            raise EnvironmentFailedError(f"{name}: more than {limit:,} bytes came; refused")
        parts.append(part)
    announced = response.headers.get("Content-Length", "")
    encoded = "Content-Encoding" in response.headers
    if announced.isdigit() and not encoded and int(announced) != size:
        raise NoAnswerError(f"{name}: {size:,} of {announced} bytes came")
    return b"".join(parts)


def _cause(error: Exception) -> str:
    """Return the innermost reason of a chain that wraps and repeats it."""
    inner: object = error
    while isinstance(inner, Exception) and inner.args:
        deeper = [one for one in inner.args if isinstance(one, Exception)]
        if not deeper:
            break
        inner = deeper[-1]
    return " ".join(str(inner).split())[:120]
