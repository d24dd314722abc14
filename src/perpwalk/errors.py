"""What can go wrong, as one tree.

::

    PerpwalkError                 (exit 1)  anything perpwalk raises on purpose
    ├── UserError                 (exit 2)  the caller can mend it
    │   ├── ConfigError                     names the key
    │   ├── DataError                       names file, row and column
    │   └── UsageError                      a wrong command, path or plug-in
    ├── LookAheadError            (exit 1)  code reached for a bar that has not closed yet
    ├── AccountError              (exit 1)  the account does not balance: a bug of ours
    └── EnvironmentFailedError    (exit 5)  disk, permission, lock

A message says what is wrong, where, and what to do; the command line prints it without a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PerpwalkError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UserError(PerpwalkError):
    """Something the caller can mend: wrong input or wrong usage."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration key is unknown, of the wrong type or in conflict with another.

    Parameters
    ----------
    message
        What is wrong and what to do.
    key
        Dotted path of the key (``"market.gaps"``), put in front of the message.
    at
        The key where the message names it already.
    """

    def __init__(self, message: str, *, key: str | None = None, at: str | None = None) -> None:
        self.key = key if at is None else at
        super().__init__(message if key is None else f"config key '{key}': {message}")


class DataError(UserError):
    """A market data file is unusable; the message names file, row and column where known.

    Parameters
    ----------
    message
        What is wrong and what to do.
    path
        The file at fault.
    row
        1-based line of the file for CSV (the header is line 1), 0-based record number for Parquet
        and Feather; the reader says which in the message it builds.
    column
        The column's name as it stands in the file.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.row = row
        self.column = column
        where = [
            *([] if path is None else [str(path)]),
            *([] if row is None else [f"row {row}"]),
            *([] if column is None else [f"column '{_readable(column, 80)}'"]),
        ]
        told = _readable(message, 1000)
        super().__init__(f"{', '.join(where)}: {told}" if where else told)


def _readable(text: str, most: int) -> str:
    """Return a text without its midst where it is long: files are quoted, and hold anything."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"


class UsageError(UserError):
    """A wrong command, path or plug-in name."""


class LookAheadError(PerpwalkError):
    """Code reached for data that is not known yet at the time it ran."""


class AccountError(PerpwalkError):
    """The account does not balance; this is a bug of perpwalk, never of its user."""


class EnvironmentFailedError(PerpwalkError):
    """The environment failed: disk full, permission lost, lock held."""

    exit_code = 5


@contextmanager
def naming(symbol: str | None) -> Iterator[None]:
    """Put the contract's symbol in front of what goes wrong inside; None where there is but one."""
    try:
        yield
    except PerpwalkError as error:
        if symbol is not None:
            error.args = (f"{symbol}: {error}", *error.args[1:])
        raise
