"""The control layer's own record of rollouts: what is wanted of them, steps taken, and what opened which gate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Wanted = Literal["forward", "paused", "back"]
"""What a rollout is to do; it is written down before anybody does it, and once it is ``back`` it stays so."""
Way = Literal["forward", "back"]
RolloutOutcome = Literal["done", "rolled back"]
StepOutcome = Literal["done", "failed", "left"]
"""``left``: begun, and then the rollout turned back."""


@dataclass(frozen=True)
class RolloutRow:
    """A rollout as the store has it."""

    id: str
    service: str
    version: str
    """The new one."""
    from_version: str
    by: str
    why: str
    wanted: Wanted
    wanted_by: str
    wanted_why: str
    wanted_at: datetime
    started_at: datetime
    waits: str = ""
    """What it waits for now, for people; empty while it works."""
    waits_since: datetime | None = None
    words: int = 0
    """How often the Observatory has spoken about it."""
    ended_at: datetime | None = None
    outcome: RolloutOutcome | None = None


@dataclass(frozen=True)
class StepRow:
    """One step that was begun."""

    way: Way
    number: int
    place: str
    verb: str
    attempts: int
    """How often it was begun: more than once if its controller was killed in it."""
    run_id: str
    begun_at: datetime
    """For the first time."""
    ended_at: datetime | None = None
    outcome: StepOutcome | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What was seen, and what opened or shut its gates."""


@dataclass(frozen=True)
class Hold:
    """A version that no rollout may bring anywhere, until somebody lifts it."""

    service: str
    version: str
    why: str
    by: str
    rollout: str
    at: datetime


@dataclass(frozen=True)
class InForce:
    """The version that a place is to have: what a run that makes hosts right goes by."""

    site: str
    enclave: str
    version: str
    digest: str
    rollout: str
    since: datetime


@dataclass(frozen=True)
class Word:
    """What the Observatory said of a rollout, as it was signed."""

    document: str
    signature: str
    at: datetime
