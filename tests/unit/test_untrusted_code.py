"""What runs code hidden in data stands nowhere in perpwalk, and code is loaded by name only."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest
import yaml
from ended import ending

from engine import crew
from engine.verify import verify_run
from perpwalk import run_config, runs
from perpwalk.config import Config, resolve
from perpwalk.errors import ConfigError, UsageError
from perpwalk.runs import Run

HERE = Path(run_config.__file__).parent.parent.parent
SOURCES = [
    path for folder in ("src", "engine", "strategies") for path in (HERE / folder).rglob("*.py")
]
FORBIDDEN_CALLS = {
    "eval", "exec", "torch.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "joblib.load", "pd.read_pickle", "pandas.read_pickle", "np.loads",
}  # fmt: skip
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
# What a run hands to its own worker processes, in a private folder that dies with it: see below.
ALLOWED = {("engine/crew.py", "joblib.load")}


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` of an expression, empty where it is none."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def offences(text: str, place: str) -> list[tuple[str, str]]:
    """Return what a source does that it must not."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names if one.name in FORBIDDEN_IMPORTS]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)] if node.module in FORBIDDEN_IMPORTS else []
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            keywords = {one.arg: one.value for one in node.keywords}
            names = [called] if called in FORBIDDEN_CALLS else []
            if called == "yaml.load" and dotted(keywords.get("Loader", node)) != "_StrictLoader":
                names.append("yaml.load")
            pickles = keywords.get("allow_pickle")
            if called == "np.load" and (pickles is None or ast.unparse(pickles) != "False"):
                names.append("np.load without allow_pickle=False")
        found += [(place, name) for name in names]
    return found


def test_nothing_that_runs_code_out_of_data_is_called() -> None:
    """No pickle, no eval, no torch.load, no unsafe YAML in src, engine and strategies."""
    assert len(SOURCES) > 200
    found = {
        one
        for path in SOURCES
        for one in offences(path.read_text(encoding="utf-8"), path.relative_to(HERE).as_posix())
    }

    assert ALLOWED == found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from dill import loads", "eval('1')", "torch.load(path)",
        "yaml.load(text, Loader=yaml.Loader)", "yaml.load(text)", "np.load(path)",
        "np.load(path, allow_pickle=True)", "joblib.load(path)",
    ],
)  # fmt: skip
def test_each_of_them_would_be_seen(text: str) -> None:
    """The search finds what it forbids."""
    assert 1 == len(offences(text, "x.py"))


def test_what_workers_are_handed_lies_where_nobody_else_can_write() -> None:
    """The folder is the user's own, closed to others, and gone afterwards."""
    with crew._loky(crew.Crew(jobs=1), [{"a": 1}]) as (_, ship):
        folder = Path(ship(0).path).parent
        facts = folder.stat()

    assert (0o700, os.getuid()) == (stat.S_IMODE(facts.st_mode), facts.st_uid)
    assert not folder.exists()


def run_of(folder: Path, **sections: object) -> Run:
    folder.mkdir(parents=True)
    raw = Config().as_dict()
    for name, values in sections.items():
        raw[name] |= values  # type: ignore[operator]
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    return Run(folder)


@pytest.mark.parametrize("where", ["absolute", "relative", "linked"])
@pytest.mark.parametrize("key", ["strategy", "label", "features"])
def test_code_that_came_with_a_run_is_not_loaded(tmp_path: Path, where: str, key: str) -> None:
    """Another's run may name code in its own folder: it is refused by key and file, and not run."""
    folder = tmp_path / "run"
    file = {
        "absolute": str(folder / "evil.py"), "relative": "evil.py",
        "linked": str(tmp_path / "link.py"),
    }[where]  # fmt: skip
    (tmp_path / "link.py").symlink_to(folder / "evil.py")
    section = {
        "strategy": {"name": f"{file}:Evil"}, "label": {"kind": f"{file}:evil"},
        "features": {"modules": [file]},
    }[key]  # fmt: skip
    run = run_of(folder, **{key: section})
    (folder / "evil.py").write_text("raise SystemExit('it ran')")

    with pytest.raises(UsageError, match=rf"{key}\.\w+: .* is code that came with the run"):
        run_config.config_of(run)


def test_code_that_the_user_keeps_elsewhere_is_loaded(tmp_path: Path) -> None:
    """A run made with a strategy of the user's own is read as ever."""
    own = tmp_path / "mine.py"
    own.write_text("")
    run = run_of(tmp_path / "results" / "run", strategy={"name": f"{own}:Mine"})

    assert f"{own}:Mine" == run_config.config_of(run).strategy.name


# ── code that only the run names ─────────────────────────────────────────────────────────────────


def test_verify_runs_no_command_that_a_run_names_as_its_model(tmp_path: Path) -> None:
    """Whatever can be imported can be named, with parameters: nothing of it is called."""
    made = tmp_path / "made"
    model = {"kind": "subprocess:Popen", "params": {"args": ["touch", str(made)]}}
    run = run_of(tmp_path / "results" / "x" / "run", model=model)

    with pytest.raises(
        UsageError, match=r"names code \(model\.kind: subprocess\).*--code subprocess"
    ):
        verify_run(run.path, samples=1)

    assert not made.exists()


@pytest.mark.parametrize("code", ["json", "json:Mine"])
def test_code_that_the_user_names_himself_is_loaded(tmp_path: Path, code: str) -> None:
    """By its module, or by its whole name."""
    run = run_of(tmp_path / "run", strategy={"name": "json:Mine"})

    with pytest.raises(run_config.UnnamedCodeError, match="strategy.name: json"):
        run_config.config_to_load(run, ["csv"])
    assert "json:Mine" == run_config.config_to_load(run, [code]).strategy.name


def test_every_place_where_code_is_named_is_asked_about(tmp_path: Path) -> None:
    """Strategy, label, model, slippage and features, all in one message with what to say."""
    own = tmp_path / "mine.py"
    own.write_text("")
    sections = {
        "strategy": {"name": f"{own}:S"}, "label": {"kind": "label_mod:f"},
        "model": {"kind": "model_mod:M"}, "broker": {"slippage": {"kind": "slip_mod:S"}},
        "features": {"modules": [str(own)]},
    }  # fmt: skip
    run = run_of(tmp_path / "run", **sections)

    with pytest.raises(UsageError) as told:
        run_config.config_to_load(run)
    asked = str(told.value).partition("say ")[2]

    expected = f"--code {own} --code label_mod --code model_mod --code slip_mod"
    assert expected == asked
    run_config.config_to_load(run, expected.replace("--code ", "").split())


def test_perpwalks_own_strategies_need_no_word(tmp_path: Path) -> None:
    """They came with perpwalk."""
    run = run_of(tmp_path / "run", strategy={"name": "strategies.hold:Hold"})

    assert "strategies.hold:Hold" == run_config.config_to_load(run).strategy.name


@pytest.mark.parametrize(
    ("where", "text", "loads"),
    [
        ("own/x.yaml", "strategy: {name: 'json:Mine'}", True),
        ("own/x.yaml", "strategy: {name: 'json:Other'}", True),  # the same module
        ("own/x.yaml", "strategy: {name: 'csv:Mine'}", False),
        ("own/x.yaml", "strategy: [", False),
        ("own/x.yaml", None, False),
        ("results/x.yaml", "strategy: {name: 'json:Mine'}", False),
    ],
)
def test_a_configuration_of_the_users_own_names_code_too(
    tmp_path: Path, where: str, text: str | None, loads: bool
) -> None:
    """It counts as his where it lies as it did when he ran it, outside the results."""
    file = tmp_path / where
    run = run_of(tmp_path / "results" / "x" / "run", strategy={"name": "json:Mine"})
    made_from(run, str(file))
    file.parent.mkdir(exist_ok=True)
    if text is not None:
        file.write_text(text)

    if loads:
        assert "json:Mine" == run_config.config_to_load(run).strategy.name
    else:
        with pytest.raises(run_config.UnnamedCodeError):
            run_config.config_to_load(run)


def test_a_configuration_beside_whoever_asks_is_not_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path would be another file for everyone: a workspace may come as a whole."""
    run = run_of(tmp_path / "results" / "x" / "run", strategy={"name": "json:Mine"})
    made_from(run, "x.yaml")
    (tmp_path / "x.yaml").write_text("strategy: {name: 'json:Mine'}")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(run_config.UnnamedCodeError):
        run_config.config_to_load(run)


def made_from(run: Run, file: str) -> None:
    runs.write_json(run.path / "manifest.json", {"status": "finished", "config_files": [file]})


# ── what is named as code is a file of code ──────────────────────────────────────────────────────

NAMED = {
    "features.modules": lambda path: {"features": {"modules": [path]}},
    "strategy.name": lambda path: {"strategy": {"name": f"{path}:X"}},
    "label.kind": lambda path: {"label": {"kind": f"{path}:x"}},
    "model.kind": lambda path: {"model": {"kind": f"{path}:X"}},
    "broker.slippage.kind": lambda path: {"broker": {"slippage": {"kind": f"{path}:x"}}},
}


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder", "a large file"])
@pytest.mark.parametrize("key", NAMED)
def test_code_is_read_from_a_file_of_bounded_size(key: str, kind: str, tmp_path: Path) -> None:
    """What never ends, or is too large to be code, is refused by key and path, at once."""
    path = tmp_path / "f.py"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        with path.open("wb") as stream:
            stream.truncate(16 * 1024**2 + 1)
    config = resolve(NAMED[key](str(path)))

    error = ending(lambda: config.digest({}))

    assert isinstance(error, ConfigError)
    assert f"config key '{key}': {path} is " in str(error)
    assert str(error).endswith("; give a file of Python code")
