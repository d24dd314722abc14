"""What is shipped works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def said(*words: object, cwd: Path) -> str:
    # What a shell adds to the path could be the checkout.
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False,
        env=bare,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_wheel_alone_makes_a_workspace_and_runs_its_demo(tmp_path: Path) -> None:
    """All three packages, the page template and the demo are in the wheel, none from the checkout.

    The dependencies are those of this environment; our editable install is not among them,
    because path files are not followed from another environment.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    said(
        *pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "dist", ROOT,
        cwd=tmp_path,
    )  # fmt: skip
    wheel = next((tmp_path / "dist").glob("perpwalk-*.whl"))
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / "bin" / "python"
    site = Path(said(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path))
    said(*pip, "install", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])

    places = said(
        python, "-c", "import engine, perpwalk, strategies; "
        "print(engine.__file__, perpwalk.__file__, strategies.__file__)", cwd=tmp_path,
    )  # fmt: skip
    said(python, "-m", "engine", "init", "mine", cwd=tmp_path)
    printed = said(
        python, "-m", "engine", "run", "configs/demo.yaml", "--set", "model.kind=logistic",
        "--set", "compute.threads=1", cwd=tmp_path / "mine",
    )  # fmt: skip

    assert 3 == places.count(str(site))
    assert "results in results/demo/base-" in printed
    assert next((tmp_path / "mine").glob("results/demo/*/report.html")).stat().st_size > 10_000
