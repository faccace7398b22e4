"""The control layer's own record of a campaign: what was asked of Slurm, under which token, and what came of it.

Slurm's job numbers are no record: they are given out again when its controller is killed soon after a submission.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

QuantumKey = str
Token = str


class QuantumState(StrEnum):
    """Where one quantum is."""

    WAITING = "waiting"
    """For what it needs, or to be submitted."""
    SUBMITTED = "submitted"
    """In an attempt that has not ended."""
    DONE = "done"
    """Its product is in the site's store."""
    FAILED = "failed"
    """Given up."""
    BLOCKED = "blocked"
    """Something that it needs was given up."""


SETTLED = frozenset({QuantumState.DONE, QuantumState.FAILED, QuantumState.BLOCKED})


class AttemptState(StrEnum):
    """Where one array task is."""

    INTENDED = "intended"
    """Written down before Slurm is asked; whether Slurm took it is not known yet."""
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"
    TAKEN_AWAY = "taken away"
    """Its node died, or it was cancelled; its quanta are done by another attempt."""
    FORGOTTEN = "forgotten"
    """Slurm had taken it and knows nothing of it any more."""
    NEVER_SENT = "never sent"
    """Intended, and Slurm never heard of it."""


LIVE = frozenset({AttemptState.INTENDED, AttemptState.QUEUED, AttemptState.RUNNING})


@dataclass(frozen=True)
class QuantumRecord:
    """What is known of one quantum."""

    key: QuantumKey
    state: QuantumState = QuantumState.WAITING
    attempts: int = 0
    failures: int = 0
    message: str = ""
    """Why it failed or is blocked."""
    product: Mapping[str, Any] | None = None
    """What the worker wrote beside the product: files with digests, inputs, host, software, times."""


@dataclass(frozen=True)
class Attempt:
    """One array task: quanta that one job carries out."""

    token: Token
    index: int
    step: str
    keys: tuple[QuantumKey, ...]
    job_id: int | None = None
    """Of the array; None until Slurm has said."""
    state: AttemptState = AttemptState.INTENDED
    host: str = ""
    restarts: int = 0
    message: str = ""


IncidentKind = Literal[
    "back",
    "failed",
    "forgotten",
    "given up",
    "never sent",
    "product lost",
    "refused",
    "taken away",
    "unreachable",
    "worker lost",
]


@dataclass(frozen=True)
class Incident:
    """Something that went otherwise than it should, and when it was noticed."""

    at: datetime
    site: str
    kind: IncidentKind
    message: str
    host: str = ""
    keys: tuple[QuantumKey, ...] = ()


SiteCondition = Literal["waiting", "working", "unknown", "done", "partial", "stopped"]
"""``partial``: nothing is left to do there, and something was given up; ``stopped``: it cannot go on as it is."""


@dataclass(frozen=True)
class SiteNote:
    """What is known of a campaign at one site."""

    site: str
    condition: SiteCondition
    since: datetime
    reason: str = ""


CampaignState = Literal["running", "done", "partial", "unfinished"]
"""``partial``: some quanta were given up; ``unfinished``: a site could not be worked at to the end."""


@dataclass(frozen=True)
class CampaignRow:
    """A campaign as the store lists it."""

    name: str
    title: str
    file: str
    digest: str
    state: CampaignState
    started_at: datetime
    ended_at: datetime | None
    document: Mapping[str, Any] = field(repr=False)
    """The whole campaign, as it is carried out."""
