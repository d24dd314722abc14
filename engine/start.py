"""Where the command begins: a signal is heard before anything that takes long is imported."""

from __future__ import annotations

import sys

from engine import stopping


def main() -> None:
    """Run the command line."""
    stopping.listen()
    try:
        from engine.cli import main as command_line

        command_line()
    except stopping.StoppedError as stop:  # amid the imports
        sys.stderr.write(f"{stopping.TOLD}\n")
        sys.exit(stop.exit_code)
