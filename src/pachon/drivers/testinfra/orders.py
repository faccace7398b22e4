"""What one process of tests is told, and what it tells back, each as JSON."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pachon.model.base import Frozen

Verdict = Literal["passed", "failed", "skipped", "unreachable"]


class Target(Frozen):
    """A host to be tested."""

    name: str
    site: str
    address: str
    """Where ssh reaches it."""
    roles: tuple[str, ...]
    """Whose tests are run on it."""
    enclave: str = ""
    groups: tuple[str, ...] = ()
    port: int = 22
    arguments: dict[str, Any] = Field(default_factory=dict)
    """What its roles are told, for tests that compare; no secret is among them."""


class Orders(Frozen):
    """Which hosts are tested, and how they are reached."""

    facility: str
    domain: str
    user: str
    key: Path
    """Private key; the certificate lies beside it as ``<key>-cert.pub``."""
    known_hosts: Path
    """Plain lines: paramiko cannot read @cert-authority."""
    targets: tuple[Target, ...]
    roles: tuple[str, ...] = ()
    """Only the tests of these are wanted; none: those of all, and those of every host."""
    connect_seconds: float = 10
    command_seconds: float = 30
    connections: int = 16
    """Open at the same time; past that the one not used for longest is closed."""


class Outcome(Frozen):
    """What came of one test on one host."""

    host: str
    role: str
    """Empty: a test of every host, whatever its roles."""
    test: str
    verdict: Verdict
    seconds: float
    message: str = ""
    cure: str = ""
