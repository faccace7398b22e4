"""The console script ``pachon``: finds the command's module, runs it, prints its answer or its error."""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from pachon.cli.answer import Answer, show
from pachon.cli.frame import Call, Group
from pachon.cli.trouble import crash, show_error
from pachon.errors import ExitCode, PachonError, UsageError
from pachon.processes import brief

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it."""
PIPE_CLOSED = 141
"""Exit status when the reader of a pipe went away, as shells give it."""


@dataclass(frozen=True)
class Noun:
    """Where a command lives and what it is for."""

    module: str
    title: str


NOUNS = {
    "doctor": Noun("pachon.cli.doctor", "Say what this machine has and lacks."),
    "check": Noun("pachon.cli.check", "Check a definition and name everything that is wrong."),
    "plan": Noun("pachon.cli.plan", "Show what would be changed, and seal it."),
    "approve": Noun("pachon.cli.approve", "Approve a plan, and what it destroys."),
    "apply": Noun("pachon.cli.apply", "Carry out a plan, exactly it."),
    "drift": Noun("pachon.cli.drift", "Show what on hosts is no longer as roles left it."),
    "serve": Noun("pachon.cli.serve", "Keep looking at sites, and watch for drift."),
    "up": Noun("pachon.cli.up", "Bring the facility to what its definition says."),
    "down": Noun("pachon.cli.down", "Take down what 'up' made."),
    "status": Noun("pachon.cli.status", "Show sites and hosts as they are."),
    "runs": Noun("pachon.cli.runs", "List what was done, the newest first."),
    "run": Noun("pachon.cli.run", "Show one run as it went."),
    "verify": Noun("pachon.cli.verify", "Test hosts by the tests of their roles."),
    "host": Noun("pachon.cli.host", "List and show hosts, and log in to them."),
    "person": Noun("pachon.cli.person", "List people, and give them SSH certificates."),
    "machine": Noun("pachon.cli.machine", "List and show machines, and switch them."),
    "blast": Noun("pachon.cli.blast", "Say what is affected if something goes away."),
    "network": Noun("pachon.cli.network", "Say which way packets take, and what stops them."),
    "service": Noun("pachon.cli.service", "The catalogue of services, and their order."),
    "rollout": Noun("pachon.cli.rollout", "From one release of a service to the next."),
    "campaign": Noun("pachon.cli.campaign", "Carry out campaigns of batch production."),
    "store": Noun("pachon.cli.store", "The record of what runs did: show, back up, restore."),
    "inventory": Noun("pachon.cli.inventory", "Print Ansible's inventory."),
    "lab": Noun("pachon.cli.lab", "The emulated hardware by itself."),
    "completion": Noun("pachon.cli.completion", "Print the shell's completion script."),
}
"""In the order in which people meet them."""


class Nouns(Group):
    """The commands of the table; a module is loaded when its command is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows the title only, enough for lists."""
        noun = NOUNS.get(cmd_name)
        return TyperCommand(cmd_name, help=noun.title, rich_markup_mode=None) if noun else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, from its module."""
        self.commands = {name: self.get_command(ctx, name) for name in NOUNS}
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name else command, rest


def load_command(name: str) -> Any:
    """The command of that name, with its module loaded."""
    app: typer.Typer = importlib.import_module(NOUNS[name].module).app
    command = typer.main.get_command(app)
    command.name = name
    return command


app = typer.Typer(
    cls=Nouns,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="\b\nExample:\n  pachon doctor && pachon up && pachon status",
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        sys.stdout.write(f"pachon {version('pachon')}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Provision and operate a scientific data facility."""


def main() -> None:
    """Run the command line of this process and end it with the command's exit code."""
    if sys.stdout is None:  # closed by who started us
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  open for as long as the process
    brief.begin()
    brief.end(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Exit status of the command line, after its answer or error was printed."""
    call = Call()
    try:
        status = _answered(arguments, call)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.stderr.write(f"error: the answer cannot be written: {error.strerror}\n")
        return int(ExitCode.FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; what was begun is finished or taken up again by the next run\n")
        return INTERRUPTED
    return status


def _answered(arguments: Sequence[str], call: Call) -> int:
    words = list(arguments)
    options = words[: words.index("--")] if "--" in words else words
    try:
        answer = typer.main.get_command(app).main(args=words, prog_name="pachon", standalone_mode=False, obj=call)
    except PachonError as error:
        show_error(error, as_json=call.as_json)
        return int(error.exit_code)
    except TyperException as error:
        _show_parser_error(error, as_json="--json" in options)
        return int(error.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        raise
    except Exception as error:
        show_error(crash(error, call.loaded or call.wanted), as_json=call.as_json)
        return int(ExitCode.FAILED)
    match answer:
        case Answer():
            show(answer, as_json=call.as_json)
            return answer.exit_code
        case int() if answer == INTERRUPTED:  # typer's way to hand on Ctrl-C
            raise KeyboardInterrupt
        case int():
            return answer
        case _:
            return int(ExitCode.DONE)


def _show_parser_error(error: TyperException, *, as_json: bool) -> None:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "pachon"
    told = error.format_message()
    if not told or (context is not None and told == context.get_help()):
        sys.stderr.write(f"{told}\n")
        return
    show_error(UsageError(told, cure=f"see '{path} --help'"), as_json=as_json)
