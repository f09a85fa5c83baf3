"""The command line, `bench`: its commands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import Annotated

import click
import typer

from haplobench.cli import data, plugins, results, run, verdicts
from haplobench.errors import BenchError, SuiteError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="bench",
    help="Compare generators of synthetic human haplotypes: fidelity, utility, privacy, cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("validate")(run.validate)
app.command("list")(plugins.list_plugins)
app.command("show")(results.show)
app.command("verdict")(verdicts.verdict)
app.command("leaks")(verdicts.leaks)
app.command("history")(results.history)
app.command("report")(results.report)
app.command("site")(results.site)
app.command("compare")(results.compare)
app.command("evaluate")(run.evaluate)
app.command("generate")(data.generate)
app.command("explore")(data.explore)
app.command("scale")(results.scale)
app.command("check")(plugins.check)
app.command("new")(plugins.new)
app.command("schema")(plugins.schema)
app.add_typer(results.baselines_app, name="baseline")
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        from haplobench import __version__

        print(f"bench (haplobench) {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    _show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: 0 fine, 1 a cell failed, 2 usage or bad input, 130 interrupted,
    143 terminated."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character (LANG=C) is shown its escape.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Some shells without a terminal say that it has no columns: nothing would be printed.
    if not os.environ.get("COLUMNS", "80").strip("0 "):
        del os.environ["COLUMNS"]
    for sign in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is signal.SIG_DFL:
            signal.signal(sign, _terminate)
    try:
        code = app(args=arguments, prog_name="bench", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except SuiteError as error:
        for problem in error.problems:
            _complain(problem)
        sys.exit(EXIT_USAGE)
    except BenchError as error:
        _complain(" ".join(str(error).split("\n")))
        sys.exit(EXIT_USAGE)
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = EXIT_INTERRUPTED
    except SystemExit:
        # Typer and rich, which print the help, end with 1 when its reader (`head`) has gone.
        if isinstance(sys.stdout, click.utils.PacifyFlushWrapper) or _hushed():
            sys.exit(0)
        raise
    except OSError as error:
        # A folder that can't be written, a full disk: the user's to mend, not a fault of ours.
        _complain(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(EXIT_USAGE)
    if code == EXIT_INTERRUPTED:  # typer makes this code of a KeyboardInterrupt
        code = _SIGNALLED[-1] if _SIGNALLED else code
        _complain("interrupted; run the same command again to resume")
    sys.exit(code if isinstance(code, int) else 0)


def _hushed() -> bool:
    """Whether what is printed goes nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.stat(os.devnull)
        return os.path.samestat(os.fstat(sys.stdout.fileno()), nothing)
    return False


_SIGNALLED: list[int] = []


def _terminate(sign: int, frame: object) -> None:
    """End as Ctrl-C does, with what runs brought to an end, but with the signal's own exit code."""
    _SIGNALLED.append(128 + sign)
    raise KeyboardInterrupt


def _complain(line: str) -> None:
    from haplobench.files import printable

    prefix = "error: "
    if sys.stderr.isatty():
        prefix = "\x1b[1;31merror:\x1b[0m "
    print(f"{prefix}{printable(line)}", file=sys.stderr)  # noqa: T201
