"""``pachon completion``: the script that a shell reads to complete commands and names."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pachon.cli.answer import Answer
from pachon.cli.frame import Command, example, verb

app = verb()


class Shell(StrEnum):
    """Shells that have a completion script."""

    BASH = "bash"
    FISH = "fish"
    ZSH = "zsh"


@app.command(cls=Command, epilog=example('eval "$(pachon completion bash)"', "pachon --install-completion"))
def completion(
    ctx: typer.Context,
    shell: Annotated[Shell | None, typer.Argument(help="Which shell (default: the one of SHELL).")] = None,
) -> Answer:
    """Print the shell's completion script: commands, options, and names of sites, hosts and machines."""
    from typer._completion_shared import get_completion_script

    chosen = shell or next((known for known in Shell if known == Path(os.environ.get("SHELL", "")).name), Shell.BASH)
    script = get_completion_script(prog_name="pachon", complete_var="_PACHON_COMPLETE", shell=chosen.value)
    return Answer(value={"shell": chosen, "script": script}, text=[script])
