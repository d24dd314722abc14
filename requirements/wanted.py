"""What pyproject.toml asks for, without torch, which is pinned apart; one requirement a line."""

import pathlib
import tomllib

HERE = pathlib.Path(__file__).parent
# What torch 2.13 needs besides CUDA libraries, so that installing torch pulls nothing unlocked.
TORCH_NEEDS = ["filelock", "typing-extensions", "setuptools", "sympy", "networkx", "fsspec"]


def asked() -> list[str]:
    """Return the requirements of the package, of its tests and of its build, as pyproject.toml."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    lines = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    return [line for line in lines if not line.startswith("torch")]


def wanted() -> list[str]:
    """Return what the lock holds: that, and what torch needs."""
    return [*asked(), *TORCH_NEEDS]


if __name__ == "__main__":
    print("\n".join(asked()))
