"""How far each machine is in its life (``pachon.model.lifecycle``), and the pin of its BMC from enrolment on.

Functions ending in ``_in`` work inside the caller's transaction.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection, Row

from pachon.errors import RefusedError
from pachon.model.lifecycle import TRANSITIONS, MachineEvent, MachineState, after
from pachon.store.database import Store, aware
from pachon.store.tables import machines

_FIND = select(machines).where(machines.c.serial == bindparam("serial"))
_CHANGE = update(machines).where(machines.c.serial == bindparam("machine"))
"""Made once: to make a statement costs as much as to execute it."""
_BY_HAND = frozenset({MachineEvent.FAIL, MachineEvent.QUARANTINE, MachineEvent.RELEASE, MachineEvent.RETIRE})


@dataclass(frozen=True)
class MachineRecord:
    """What the store knows of a machine."""

    serial: str
    site: str
    state: MachineState
    address: str
    """Of the host that it carries, or empty."""
    generation: str
    bmc_tls_sha256: str
    reason: str
    since: datetime


def way(state: MachineState, goal: MachineState) -> tuple[MachineEvent, ...]:
    """Shortest chain of events from one state to another that needs no person (empty where they are equal).

    Raises:
        RefusedError: only a person can lead there.
    """
    ahead: deque[tuple[MachineState, tuple[MachineEvent, ...]]] = deque([(state, ())])
    seen = {state}
    while ahead:
        here, chain = ahead.popleft()
        if here is goal:
            return chain
        for (origin, event), target in TRANSITIONS.items():
            if origin is here and event not in _BY_HAND and target not in seen:
                seen.add(target)
                ahead.append((target, (*chain, event)))
    raise RefusedError(
        f"a machine that is {state} does not become {goal} by itself",
        cure="a person must look at it and release it first",
    )


def _record(row: Row[tuple[object, ...]]) -> MachineRecord:
    return MachineRecord(
        serial=row.serial,
        site=row.site,
        state=MachineState(row.state),
        address=row.address,
        generation=row.generation,
        bmc_tls_sha256=row.bmc_tls_sha256,
        reason=row.reason,
        since=aware(row.since),
    )


def find_in(connection: Connection, serial: str) -> MachineRecord | None:
    """The record of that machine, if it was ever enrolled."""
    row = connection.execute(_FIND, {"serial": serial}).one_or_none()
    return None if row is None else _record(row)


def enrol_in(connection: Connection, serial: str, *, site: str, bmc_tls_sha256: str) -> MachineState:
    """State of the machine, whose BMC is now pinned to that certificate; at later meetings it has to be the same.

    Raises:
        RefusedError: it is pinned to another certificate.
    """
    known = find_in(connection, serial)
    if known is None:
        values = {
            "serial": serial,
            "site": site,
            "state": MachineState.ENROLLED.value,
            "address": "",
            "generation": "",
            "bmc_tls_sha256": bmc_tls_sha256,
            "reason": "",
            "since": datetime.now(UTC),
        }
        connection.execute(insert(machines), values)
    elif not known.bmc_tls_sha256:
        connection.execute(_CHANGE, {"machine": serial, "bmc_tls_sha256": bmc_tls_sha256})
    elif known.bmc_tls_sha256 != bmc_tls_sha256:
        raise RefusedError(
            f"machine {serial}: its BMC shows the certificate {bmc_tls_sha256[:16]}…, "
            f"enrolled was {known.bmc_tls_sha256[:16]}…",
            cure=f"if the BMC or its certificate was replaced: 'pachon machine forget {serial} --yes'; "
            "if not, someone stands between",
        )
    return MachineState.ENROLLED if known is None else known.state


def move_in(
    connection: Connection,
    serial: str,
    goal: MachineState,
    *,
    address: str = "",
    generation: str = "",
    reason: str = "",
) -> None:
    """Record that the machine came to that state, by events that the table allows; unknown machines are no matter.

    Raises:
        RefusedError: the table leads nowhere near.
    """
    known = find_in(connection, serial)
    if known is None:
        return
    state = known.state
    chain = (MachineEvent.FAIL,) if goal is MachineState.FAILED and state is not goal else way(state, goal)
    for event in chain:
        state = after(state, event)
    values: dict[str, object] = {"state": state.value, "reason": reason, "address": address, "generation": generation}
    values["machine"] = serial
    if state is not known.state:
        values["since"] = datetime.now(UTC)
    connection.execute(_CHANGE, values)


def machine(store: Store, serial: str) -> MachineRecord | None:
    """The record of that machine, if it was ever enrolled."""
    with store.transaction() as connection:
        return find_in(connection, serial)


def machines_of(store: Store, site: str) -> dict[str, MachineRecord]:
    """Records of the site's machines by serial."""
    with store.transaction() as connection:
        rows = connection.execute(select(machines).where(machines.c.site == site)).all()
    return {row.serial: _record(row) for row in sorted(rows, key=lambda row: row.serial)}


def forget(store: Store, serial: str) -> None:
    """Drop the machine's record, so that its BMC is pinned afresh at the next enrolment."""
    with store.transaction() as connection:
        connection.execute(machines.delete().where(machines.c.serial == serial))
