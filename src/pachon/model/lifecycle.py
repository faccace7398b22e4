"""The life of a machine, as a table anyone can read.

enrolled → inspected → configured → deploying → active ─┐
               ▲            ▲          │   ▲            │
               │            │          ▼   │            ▼
               │            │        failed        draining → cleaning → available → deploying
               │            └──────────┤                          │
               └────── quarantined ◀───┴──────────────────────────┘
retired: from everywhere but deploying, active and draining; nothing leads out of it.
"""

from enum import StrEnum

from pachon.errors import RefusedError


class MachineState(StrEnum):
    """Where a machine stands in its life."""

    ENROLLED = "enrolled"
    """In the hardware tables; nobody has spoken to its BMC."""
    INSPECTED = "inspected"
    """Its BMC answered, and what it consists of is what the tables say."""
    CONFIGURED = "configured"
    """Firmware settings and boot order are as they must be."""
    DEPLOYING = "deploying"
    """It has an order at the boot service; the site's CA signs its host keys only now."""
    ACTIVE = "active"
    """It carries a host."""
    DRAINING = "draining"
    """Its host is being relieved of work."""
    CLEANING = "cleaning"
    """Its disks are being wiped and its keys revoked."""
    AVAILABLE = "available"
    """Clean, powered off, ready for another host."""
    FAILED = "failed"
    """Inspection, deployment or cleaning failed; says why."""
    QUARANTINED = "quarantined"
    """A person must look at it; nothing is deployed on it."""
    RETIRED = "retired"
    """Leaves the racks; kept for the record."""


class MachineEvent(StrEnum):
    """What moves a machine on."""

    INSPECT = "inspect"
    CONFIGURE = "configure"
    DEPLOY = "deploy"
    ARRIVE = "arrive"
    """The deployed host answers by SSH with its certificate."""
    DRAIN = "drain"
    CLEAN = "clean"
    CLEANED = "cleaned"
    FAIL = "fail"
    QUARANTINE = "quarantine"
    RELEASE = "release"
    """A person found it sound."""
    RETIRE = "retire"


S, E = MachineState, MachineEvent

TRANSITIONS: dict[tuple[MachineState, MachineEvent], MachineState] = {
    # coming in
    (S.ENROLLED, E.INSPECT): S.INSPECTED,
    (S.ENROLLED, E.FAIL): S.FAILED,
    (S.INSPECTED, E.INSPECT): S.INSPECTED,
    (S.INSPECTED, E.CONFIGURE): S.CONFIGURED,
    (S.INSPECTED, E.FAIL): S.FAILED,
    (S.CONFIGURED, E.INSPECT): S.INSPECTED,
    # carrying a host
    (S.CONFIGURED, E.DEPLOY): S.DEPLOYING,
    (S.AVAILABLE, E.DEPLOY): S.DEPLOYING,
    (S.DEPLOYING, E.DEPLOY): S.DEPLOYING,
    (S.DEPLOYING, E.ARRIVE): S.ACTIVE,
    (S.DEPLOYING, E.FAIL): S.FAILED,
    # giving it up
    (S.ACTIVE, E.DRAIN): S.DRAINING,
    (S.ACTIVE, E.FAIL): S.FAILED,
    (S.DRAINING, E.ARRIVE): S.ACTIVE,
    (S.DRAINING, E.CLEAN): S.CLEANING,
    (S.DRAINING, E.FAIL): S.FAILED,
    (S.CLEANING, E.CLEANED): S.AVAILABLE,
    (S.CLEANING, E.FAIL): S.FAILED,
    # when something is wrong
    (S.FAILED, E.INSPECT): S.INSPECTED,
    (S.FAILED, E.DEPLOY): S.DEPLOYING,
    (S.FAILED, E.CLEAN): S.CLEANING,
    (S.FAILED, E.QUARANTINE): S.QUARANTINED,
    (S.QUARANTINED, E.RELEASE): S.INSPECTED,
    # going out
    (S.ENROLLED, E.RETIRE): S.RETIRED,
    (S.INSPECTED, E.RETIRE): S.RETIRED,
    (S.CONFIGURED, E.RETIRE): S.RETIRED,
    (S.CLEANING, E.RETIRE): S.RETIRED,
    (S.AVAILABLE, E.RETIRE): S.RETIRED,
    (S.FAILED, E.RETIRE): S.RETIRED,
    (S.QUARANTINED, E.RETIRE): S.RETIRED,
}


def after(state: MachineState, event: MachineEvent) -> MachineState:
    """State of the machine after the event.

    Raises:
        RefusedError: the table has no such step; names the events that are possible.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        possible = sorted(could for (here, could) in TRANSITIONS if here is state)
        raise RefusedError(
            f"a machine that is {state} cannot '{event}'",
            cure=f"possible are: {', '.join(possible)}" if possible else "enrol it anew under another serial",
        ) from None


def may_sign_host_keys(state: MachineState) -> bool:
    """Whether the site's CA signs host keys of a machine in this state."""
    return state is MachineState.DEPLOYING
