"""Resolve pyproject.toml into requirements/lock.txt, torch apart.

torch is left out because its CPU build carries a local version and therefore no hash that holds
everywhere; the pure-Python packages it needs are resolved here with the rest. Run by `make lock`.
"""

import pathlib
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
# What torch 2.13 needs besides CUDA libraries, so that installing torch pulls nothing unlocked.
TORCH_NEEDS = ["filelock", "typing-extensions", "setuptools", "sympy", "networkx", "fsspec"]


def main() -> None:
    """Write the lock with hashes, valid for every supported Python and platform."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
        *TORCH_NEEDS,
    ]
    lines = [line for line in wanted if not line.startswith("torch")]
    uv = pathlib.Path(sys.executable).with_name("uv")
    command = [
        str(uv), "pip", "compile", "-", "--universal", "--python-version", "3.11",
        "--generate-hashes", "--no-header", "--no-annotate",
        "-o", str(HERE / "lock.txt"),
    ]  # fmt: skip
    subprocess.run(command, input="\n".join(lines), text=True, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
