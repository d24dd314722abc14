"""What may wait for ever is given a while: a test that would hang fails instead."""

from __future__ import annotations

import threading
from collections.abc import Callable


def ending(call: Callable[[], object], seconds: float = 30) -> BaseException | None:
    """Return what a call raised, None where nothing, or fail where it does not come back."""
    raised: list[BaseException | None] = []

    def called() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is handed to who asked
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=called, daemon=True)  # one that hangs ends with the tests
    thread.start()
    thread.join(seconds)
    assert raised, f"it has not come back for {seconds:g} s"
    return raised[0]
