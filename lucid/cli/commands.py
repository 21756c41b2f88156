"""The commands, and how they are run: an error is one line, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

import click

from ..base.lazy import LazyModule
from ..errors import LucidError
from .answer import BAD_INPUT, Answer
from .options import with_settings
from .show import show

HOMES = {
    "info": LazyModule("lucid.cli.info"),
    "draw": LazyModule("lucid.cli.draw"),
    "report": LazyModule("lucid.cli.report"),
    "run": LazyModule("lucid.cli.run"),
    "bench": LazyModule("lucid.cli.bench"),
    "profile": LazyModule("lucid.cli.profile"),
    "verify": LazyModule("lucid.cli.verify"),
    "diff": LazyModule("lucid.cli.diff"),
    "convert": LazyModule("lucid.cli.convert"),
    "passes": LazyModule("lucid.cli.passes"),
    "plugins": LazyModule("lucid.cli.plugins"),
}
"""The module of each command; only the one that is used is loaded."""

HELP = {
    "info": "What a model takes, gives and consists of.",
    "draw": "Draw a graph as .svg, .png, .pdf or .dot.",
    "report": "Write a page that shows all of a model.",
    "run": "Run a model on arrays and pictures.",
    "bench": "How long a call takes.",
    "profile": "How long each step of a program takes.",
    "verify": "Compare a model with the reference.",
    "diff": "What differs between two models.",
    "convert": "Write any model as a .lucid or .onnx file.",
    "passes": "The passes, and what they make of a model.",
    "plugins": "What is installed beside Lucid and adds ops, passes and back ends.",
}

INTERRUPTED, CLOSED, INTERNAL = 130, 141, 70
"""Exit codes of an interrupt, of a closed output, and of an internal error."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command in the arguments (by default those of the process); returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = {word for word in given if word in HOMES}
    group = _group(set(HOMES) if "_LUCID_COMPLETE" in os.environ else asked)
    try:
        code: int | None = group.main(given, prog_name="lucid", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 0
    except click.ClickException as error:
        return _refused(error.format_message(), getattr(error, "ctx", None))
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (LucidError, OSError, MemoryError) as error:
        return _refused(one_line(error))
    except Exception:  # noqa: BLE001 - a mistake of ours, for a report
        traceback.print_exc()
        click.echo("this is a mistake in Lucid: please report it, with the lines above", err=True)
        return INTERNAL
    return code or 0


def one_line(error: BaseException) -> str:
    """An error and its notes on one line."""
    kind = "" if isinstance(error, LucidError) else f"{type(error).__name__}: "
    notes = [f"({note})" for note in getattr(error, "__notes__", ())]
    return " ".join(" ".join([f"{kind}{error}", *notes]).split())


def _refused(message: str, context: click.Context | None = None) -> int:
    path = context.command_path if context is not None else "lucid"
    hint = f" (lucid {context.info_name} --help says more)" if context is not None and context.parent else ""
    click.echo(f"{path}: {message}{hint}", err=True)
    return BAD_INPUT


def _group(loaded: set[str]) -> click.Group:
    """All commands by name, with the parameters of those to be loaded."""
    made = {name: _command(name) if name in loaded else click.Command(name, help=HELP[name]) for name in HOMES}
    made["completion"] = _completion()
    return click.Group(
        "lucid", commands=made, help="Look at models, run them, and check them. A MODEL is a .lucid or .onnx file, or "
        "module:attribute for what a Python module holds.",
        params=[click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version)],
    )  # fmt: skip


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"lucid {sys.modules['lucid'].__version__}")
        context.exit()


def _command(name: str) -> click.Command:
    home = HOMES[name]
    parameters = [
        *home.PARAMETERS,
        click.Option(["--json", "as_json"], is_flag=True, help="Answer in JSON."),
        click.Option(["--debug"], is_flag=True, help="Where something goes wrong, say where in the code."),
    ]
    about = "\n\n".join([HELP[name], *([home.run.__doc__] if home.run.__doc__ else [])])
    return click.Command(name, callback=partial(_answered, home.run), params=parameters, help=about)


def _answered(command: Callable[..., Answer], *, as_json: bool, debug: bool, **given: object) -> int:
    try:
        answer = command(**with_settings(given))
    except Exception:
        if debug:
            traceback.print_exc()
        raise
    if sys.stdout is None:  # it was closed before the process began
        return CLOSED
    try:
        show(answer, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's last flush does not fail too
        return CLOSED
    return answer.code


SHELLS = ("bash", "zsh", "fish")


def _completion() -> click.Command:
    """``lucid completion bash`` prints the script for the shell."""
    return click.Command(
        "completion", callback=_print_completion, params=[click.Argument(["shell"], type=click.Choice(SHELLS))],
        help="What lets a shell complete commands.\n\nFor bash: eval \"$(lucid completion bash)\"",
    )  # fmt: skip


def _print_completion(shell: str) -> int:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(_group(set()), {}, "lucid", "_LUCID_COMPLETE").source())
    return 0
