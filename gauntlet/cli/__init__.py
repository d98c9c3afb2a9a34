"""The command ``gauntlet``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from benchmark.errors import ErrorDetail, GauntletError, InvalidInput
from gauntlet import __version__
from gauntlet.cli import (
    account,
    account_token,
    analyse,
    backup,
    check,
    compare,
    convert,
    data,
    entry_report,
    evaluate,
    external,
    health,
    leaderboard,
    model_info,
    queue,
    reproduce,
    sandbox,
    serve,
    submit,
    worker,
    zoo,
)
from gauntlet.cli.console import EPILOG, ExitCode, exit_code_of, report_error

app = typer.Typer(
    name="gauntlet",
    help="Measure how robust image classifiers are against attacks, and compare them on leaderboards.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in (
    ("serve", serve.serve),
    ("evaluate", evaluate.evaluate),
    ("check", check.check),
    ("convert", convert.convert),
    ("compare", compare.compare),
    ("analyse", analyse.analyse),
    ("reproduce", reproduce.reproduce),
    ("submit", submit.submit),
    ("watch", submit.watch),
    ("cancel", submit.cancel),
    ("external", external.external),
    ("leaderboard", leaderboard.leaderboard),
    ("report", entry_report.report),
    ("log", entry_report.log),
    ("login", account_token.login),
    ("logout", account_token.logout),
    ("worker", worker.worker),
    ("sweep", worker.sweep),
    ("health", health.health),
    ("sandbox", sandbox.sandbox),
    ("import-model-info", model_info.import_model_info),
    ("backup", backup.backup),
    ("restore", backup.restore),
):
    app.command(name, epilog=EPILOG)(command)
app.add_typer(data.app, name="data")
app.add_typer(zoo.app, name="zoo")
app.add_typer(queue.app, name="queue")
app.add_typer(account.app, name="account")


@app.callback(invoke_without_command=True)
def front(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version, or the help where no command is named."""
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="gauntlet", standalone_mode=False)
    except GauntletError as error:
        report_error(error, as_json=_wants_json(arguments))
        code = exit_code_of(error)
    except typer.TyperException as error:
        report_error(_usage_error(error), as_json=_wants_json(arguments))
        code = ExitCode.INVALID
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone
        _close_stdout()
        code = ExitCode.FAILED
    except OSError as error:
        if error.filename is None:  # no file of ours: the output itself cannot be written, such as to a full disk
            _close_stdout()
        report_error(_system_error(error), as_json=_wants_json(arguments))
        code = ExitCode.INVALID
    if code == ExitCode.INTERRUPTED:
        print("interrupted", file=sys.stderr)
    sys.exit(code or ExitCode.OK)


def _wants_json(arguments: list[str]) -> bool:
    return any(argument == "--json" or argument.startswith("--json=") for argument in arguments)


def _close_stdout() -> None:
    """Let go of an output that takes nothing more, so that the interpreter does not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError) -> InvalidInput:
    reason = error.strerror or type(error).__name__
    field, found = ("output", reason) if error.filename is None else ("file", f"{str(error.filename)!r}: {reason}")
    return InvalidInput.because(
        field, found=found, expected="a place that can be used", remedy="check path, permissions and free space"
    )


def _usage_error(error: typer.TyperException) -> InvalidInput:
    message = " ".join(error.format_message().split()).rstrip(".") + "."
    parameter = getattr(error, "param", None)
    field = str(getattr(parameter, "name", None) or "command line")
    return InvalidInput(message, ErrorDetail(field, message, "a command as --help describes it", "see gauntlet --help"))
