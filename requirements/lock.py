"""Resolve pyproject.toml into requirements/lock.txt, torch apart.

torch is left out because its CPU build carries a local version and therefore no hash that holds
everywhere; the pure-Python packages it needs are resolved here with the rest. Run by `make lock`.
"""

import pathlib
import subprocess
import sys

from wanted import wanted

HERE = pathlib.Path(__file__).parent


def main() -> None:
    """Write the lock with hashes, valid for every supported Python and platform."""
    uv = pathlib.Path(sys.executable).with_name("uv")
    command = [
        str(uv), "pip", "compile", "-", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-header", "--no-annotate",
        "-o", str(HERE / "lock.txt"),
    ]  # fmt: skip
    subprocess.run(command, input="\n".join(wanted()), text=True, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
