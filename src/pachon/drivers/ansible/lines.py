"""What the callback plug-in ``pachon_lines`` tells of plays while they run: a JSON line each, typed here."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pachon.model.base import Frozen

PREFIX = '{"pachon_line": '
"""How each of our lines begins on the standard output of ``ansible-playbook``."""

State = Literal["ok", "changed", "failed", "unreachable"]


class PlayBegan(Frozen):
    """A role is about to be played."""

    kind: Literal["play"]
    play: str
    """Name of the play."""


class Result(Frozen):
    """A task or handler that changed something on a host, or failed there."""

    kind: Literal["result"]
    play: str
    host: str
    task: str
    handler: bool
    state: Literal["changed", "failed", "unreachable"]
    message: str
    """Why it failed; nothing of tasks that work with secrets."""


class Verdict(Frozen):
    """What came of a play on one host, its handlers included."""

    state: State
    changed: int
    """Tasks and handlers that changed something."""
    task: str
    """The one that failed; else empty."""
    message: str


class Managed(Frozen):
    """What a task manages on a host."""

    task: str
    effects: tuple[dict[str, Any], ...] | None
    """As ``pachon.model.effects`` has them; None where they cannot be expressed."""


class Effects(Frozen):
    """What the tasks of a play manage on one host; handlers are left out, since they run or not."""

    kind: Literal["effects"]
    play: str
    host: str
    tasks: tuple[Managed, ...]


class Ended(Frozen):
    """A play is over, handlers included."""

    kind: Literal["ended"]
    play: str
    verdicts: dict[str, Verdict]
    """By host; missing are those that an earlier play had lost, and those for which there was no task at all."""


Line = PlayBegan | Result | Effects | Ended
_LINES: TypeAdapter[Line] = TypeAdapter(Annotated[PlayBegan | Result | Effects | Ended, Field(discriminator="kind")])


def read(text: str) -> Line | None:
    """The line in that text; None for anything that Ansible itself says."""
    if not text.startswith(PREFIX):
        return None
    try:
        return _LINES.validate_json(text[len(PREFIX) :].removesuffix("}"))
    except ValidationError:
        return None
