"""``python -m engine`` is ``perpwalk``."""

from engine.start import main

main()
