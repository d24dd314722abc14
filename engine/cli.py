"""The command line: parse, call, print; no logic.

Exit codes: 0 done; 1 the answer is no, or an internal failure; 2 wrong usage or wrong input; 3 the
verdict is INVALID; 4 the verdict is SUSPECT; 5 the environment failed; 130/143 interrupted.
Heavy packages are imported inside the commands, so that ``--help`` does not pay for them.
"""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engine import stopping
from engine.commands.compare import EngineOption, SecondOption, compare, engine_settings
from engine.commands.data import data
from engine.commands.options import (
    AddressOption,
    BackendOption,
    CodeOption,
    JobsOption,
    OutOption,
    crew_settings,
)
from engine.commands.placebo import placebo
from engine.commands.sweep import sweep
from perpwalk.errors import PerpwalkError
from perpwalk.terminal import Terminal, write, write_json

if TYPE_CHECKING:
    from perpwalk.runs import Run


EXIT_INTERNAL = 1
EXIT_DISK = 5

app = typer.Typer(
    name="perpwalk",
    help="Walk-forward backtests of model signals on perpetual futures that cannot lie.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out_console = Terminal()
err_console = Terminal(stderr=True)
_debug = False

ConfigArgument = Annotated[Path, typer.Argument(help="Configuration, a YAML file.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override one configuration key; repeatable."),
]
AcceptOption = Annotated[
    str | None,
    typer.Option(
        "--accept-suspect",
        metavar="REASON",
        help="Record why a SUSPECT result may be believed; it then exits 0. Never an INVALID one.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        import perpwalk

        out_console.print(f"perpwalk {perpwalk.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[  # noqa: ARG001 - read by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""
    global _debug
    _debug = debug


@app.command()
def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    out: OutOption = Path("results"),
    force: Annotated[
        bool, typer.Option("--force", help="Make the run again, replacing a finished one.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor write the cache of earlier work.")
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
    ] = False,
    audit: Annotated[
        Literal["none", "quick", "full"],
        typer.Option("--audit", help="Search for leaks first, unless a search as deep is kept."),
    ] = "none",
    prior_trials: Annotated[
        int | None,
        typer.Option("--prior-trials", help="How many variants were tried before or elsewhere."),
    ] = None,
    accept_suspect: AcceptOption = None,
    engine: EngineOption = None,
    second: SecondOption = False,
    jobs: JobsOption = None,
    backend: BackendOption = None,
    address: AddressOption = None,
) -> None:
    """Run one experiment: walk forward, backtest, report.

    The run is kept in OUT/<name>/<variant>-<hash8>: the same question has the same place. An
    interrupted run goes on where it was when the same command is given again.
    """
    from perpwalk import config as configuration
    from perpwalk import layers

    options = [*engine_settings(engine, second), *crew_settings(jobs, backend, address)]
    layered = layers.read(config, [*(overrides or ()), *options])
    resolved = configuration.of_layers(layered)
    if print_config:
        write(resolved.to_yaml())
        return
    from engine import audits, standing
    from engine.alarm import run_and_search
    from engine.progress import reporter
    from engine.variants import variant_of_file

    if accept_suspect is not None:
        standing.check_reason(accept_suspect)  # before hours of work, not after
    with reporter(err_console) as tell:
        audits.ensure(out, resolved, audit, tell)
        finished = run_and_search(
            resolved, out=out, variant=variant_of_file(layered.files), force=force,
            cache=not no_cache, prior_trials=prior_trials, reporter=tell,
            config_files=tuple(map(str, layered.files)),
        )  # fmt: skip
    finished = _accepted(finished, accept_suspect)
    _show(finished)
    raise typer.Exit(standing.exit_code(finished.audit))


def _accepted(finished: Run, reason: str | None) -> Run:
    """Record a person's reason where there is a suspicion to accept; say where there is none."""
    if reason is None:
        return finished
    from engine import standing

    accepted = standing.accept(finished, reason)
    if accepted is None:
        word = finished.audit["verdict"]["overall"]
        why = "no reason makes it a result" if word == "invalid" else "there is nothing to accept"
        _say(f"--accept-suspect: the verdict is {word}; {why}")
    return accepted or finished


def _show(finished: Run) -> None:
    from perpwalk.reports import table

    table.show(finished, out_console)
    out_console.print(f"results in {finished.path}", highlight=False, soft_wrap=True)


@app.command()
def tearsheet(
    run_folder: RunArgument,
    benchmark: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Hold it against this run, not against buy and hold."),
    ] = None,
    figures: Annotated[
        Literal["pdf", "png"] | None,
        typer.Option(help="Also write the main figures: one PDF, or PNG files."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write into this folder, not into the run's.")
    ] = None,
) -> None:
    """Write the tearsheet of a finished run again: ours on top, quantstats' pages below."""
    from perpwalk import reports
    from perpwalk.runs import load_run

    of = load_run(run_folder)
    against = None if benchmark is None else load_run(benchmark)
    for path in reports.redo_tearsheet(of, against=against, figures=figures, out=out):
        out_console.print(f"wrote {path}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or of a comparison.")
    ],
) -> None:
    """Write the page of a finished run, or of a comparison, again."""
    from perpwalk import reports
    from perpwalk.comparison.record import JSON_FILE
    from perpwalk.runs import load_run

    if (folder / JSON_FILE).is_file():
        path = reports.redo_comparison_page(folder)
    else:
        path = reports.redo_page(load_run(folder))
    out_console.print(f"wrote {path}", highlight=False, soft_wrap=True)


@app.command()
def check(
    run_folder: RunArgument,
    min_accuracy: Annotated[float, typer.Option(help="Bar for the accuracy.")] = 0.55,
    min_auc: Annotated[float, typer.Option(help="Bar for the AUC.")] = 0.5,
    accept_suspect: AcceptOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the results: pass, fail or cannot be judged, by the interval's lower end."""
    from perpwalk.audit.check import check_run
    from perpwalk.reports import answers
    from perpwalk.runs import load_run

    judged = _accepted(load_run(run_folder), accept_suspect)
    answer = check_run(judged, min_accuracy=min_accuracy, min_auc=min_auc)
    if as_json:
        write_json(answers.as_json(answer))
    else:
        answers.show_check(answer, out_console)
    raise typer.Exit(answer.exit_code)


@app.command()
def verify(run_folder: RunArgument, code: CodeOption = None, as_json: JsonOption = False) -> None:
    """Verify a run: artifacts, configuration, data, split, features, model, every file."""
    from engine.verify import verify_run
    from perpwalk.reports import answers

    found = verify_run(run_folder, code=code or ())
    if as_json:
        write_json(answers.as_json(found))
    else:
        answers.show_verification(found, out_console)
    raise typer.Exit(found.exit_code)


@app.command()
def audit(
    config: ConfigArgument,
    overrides: SetOption = None,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Fit the real model too, or a stand-in only.")
    ] = False,
    out: OutOption = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Hunt leaks in the whole pipeline as a black box: your features, model and strategy too.

    What is found is kept in OUT/audits: a run of the same pipeline, data and code is judged with
    it.
    """
    import json

    from engine import audits, leaks
    from engine.progress import reporter
    from perpwalk import config as configuration

    resolved = configuration.load(config, overrides or ())
    with reporter(err_console) as tell:
        found, kept = audits.made(out, resolved, full=full, reporter=tell)
    if as_json:
        write_json(json.dumps(leaks.document(found), indent=2, allow_nan=False) + "\n")
    else:
        leaks.show(found, out_console)
        out_console.print(f"kept in {kept}", highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


@app.command(name="runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results"),
) -> None:
    """List finished, failed and interrupted runs."""
    from rich.table import Table

    from perpwalk.runs import list_runs as find

    found = find(folder)
    if found.empty:
        out_console.print(f"no runs under {folder}", highlight=False)
        return
    table = Table(box=None, header_style="bold")
    for column in found.columns:
        table.add_column(column, overflow="fold")
    for row in found.itertuples(index=False):
        table.add_row(*map(str, row))
    out_console.print(table)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to make or fill.")]) -> None:
    """Make a workspace: configs, strategies and results with a worked example."""
    from engine.workspace import make_workspace

    made = make_workspace(folder)
    out_console.print(f"made {', '.join(map(str, made))}", highlight=False, soft_wrap=True)
    out_console.print(f"next: cd {folder} && perpwalk run configs/demo.yaml", highlight=False)


app.command()(compare)
app.command()(placebo)
app.command()(sweep)
app.add_typer(data)

# ── errors and interruptions ─────────────────────────────────────────────────────────────────────


def main() -> None:
    """Run the command line and exit with the contract's code."""
    stopping.listen()
    try:
        app(standalone_mode=True)
    except PerpwalkError as error:
        _fail(str(error), error.exit_code)
    except stopping.StoppedError as stop:
        _say(stopping.TOLD)
        sys.exit(stop.exit_code)
    except MemoryError:
        _fail("there is not enough memory for this; ask for less of it", EXIT_DISK)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            begun = str(error.filename or "")[:60]
            _fail(f"'{begun}…': no file can have so long a name here; give a shorter one", 2)
        _fail(f"the environment failed: {error}", EXIT_DISK)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for users
        _fail(
            f"internal error, a bug of perpwalk: {type(error).__name__}: {error}\n"
            "repeat with `perpwalk --debug …` for the traceback and report it",
            EXIT_INTERNAL,
        )


def _fail(message: str, code: int) -> None:
    if _debug:
        traceback.print_exc()
    _say(f"error: {message}")
    sys.exit(code)


def _say(message: str) -> None:
    err_console.print(message, highlight=False, soft_wrap=True)
