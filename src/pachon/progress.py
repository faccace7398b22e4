"""How work tells of itself: one event type, handed to whoever shows it (a terminal, a JSON-lines file, a test)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventState = Literal["started", "moving", "done", "unchanged", "failed"]


@dataclass(frozen=True)
class Event:
    """Something began, moved on or ended."""

    stage: str
    """Part of the work: toolchain, images, lab, boot, network, compute, storage, verify."""
    address: str
    """What it happens to, such as ``base/host/base-batch01``; empty for the stage itself."""
    state: EventState
    message: str = ""
    """For people: why it is unchanged, why it failed, what it is doing."""
    fraction: float | None = None
    """Done part between 0 and 1, where it is known."""


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Show nothing."""
