"""Health contracts: how it is told that a service does what others rely on; a small closed vocabulary, and no I/O.

A service names its probes; who needs the service says which of them it relies on. Each is tried from one host by one
command, so that a person, a gate and a start that waits try the same thing.
"""

from collections.abc import Callable
from typing import Literal

from pachon.model.base import Frozen


class TcpProbe(Frozen):
    """Somebody listens at an endpoint."""

    kind: Literal["tcp"] = "tcp"
    name: str
    endpoint: str


class HttpProbe(Frozen):
    """An endpoint answers a request for a path with a status."""

    kind: Literal["http"] = "http"
    name: str
    endpoint: str
    path: str
    status: int


class UnitProbe(Frozen):
    """A systemd unit is active on every host of a group."""

    kind: Literal["unit"] = "unit"
    name: str
    group: str
    unit: str


class SlurmProbe(Frozen):
    """A Slurm partition is up and has workers that take jobs."""

    kind: Literal["slurm"] = "slurm"
    name: str
    group: str
    """Hosts that are asked; one answer is enough."""
    partition: str
    workers: int
    """So many at least."""


class CommandProbe(Frozen):
    """A program ends well on every host of a group."""

    kind: Literal["command"] = "command"
    name: str
    group: str
    command: tuple[str, ...]
    """The program with its absolute path, and its arguments; never a shell's text."""


class RoleProbe(Frozen):
    """The tests of a role pass on every host that carries it (``pachon verify``)."""

    kind: Literal["role"] = "role"
    name: str
    role: str


Probe = TcpProbe | HttpProbe | UnitProbe | SlurmProbe | CommandProbe | RoleProbe


def endpoint_of(probe: Probe) -> str:
    """The endpoint that a probe speaks to; empty where it looks at hosts themselves."""
    return probe.endpoint if isinstance(probe, TcpProbe | HttpProbe) else ""


def group_of(probe: Probe) -> str:
    """The group of the hosts that a probe looks at; empty where it speaks to an endpoint."""
    match probe:
        case TcpProbe() | HttpProbe():
            return ""
        case RoleProbe():
            return probe.role
        case UnitProbe() | SlurmProbe() | CommandProbe():
            return probe.group


def asks(probe: Probe) -> str:
    """What a probe asks for, in words."""
    match probe:
        case TcpProbe():
            return f"{probe.endpoint} accepts connections"
        case HttpProbe():
            return f"{probe.endpoint} answers {probe.path} with {probe.status}"
        case UnitProbe():
            return f"{probe.unit} is active on every {probe.group} host"
        case SlurmProbe():
            least = f"{probe.workers} worker{'' if probe.workers == 1 else 's'}"
            return f"partition {probe.partition} is up with at least {least}"
        case CommandProbe():
            return f"{' '.join(probe.command)} ends well on every {probe.group} host"
        case RoleProbe():
            return f"the tests of role {probe.role} pass on every host that carries it"


def by_hand(probe: Probe, port_of: Callable[[str], int]) -> str:
    """The command with which a person tries it; HOST is one of the group's hosts, or where the endpoint is."""
    match probe:
        case TcpProbe():
            return f"nc -z HOST {port_of(probe.endpoint)}"
        case HttpProbe():
            where = f"https://HOST:{port_of(probe.endpoint)}{probe.path}"
            return f"curl --silent --output /dev/null --write-out %{{http_code}} {where}"
        case UnitProbe():
            return f"pachon host ssh HOST -- systemctl is-active {probe.unit}"
        case SlurmProbe():
            return f"pachon host ssh HOST -- sinfo --partition={probe.partition}"
        case CommandProbe():
            return f"pachon host ssh HOST -- {' '.join(probe.command)}"
        case RoleProbe():
            return f"pachon verify role/{probe.role}"
