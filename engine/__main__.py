"""``python -m engine`` is ``perpwalk``."""

from engine.cli import main

main()
