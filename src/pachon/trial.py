"""Tries a traced way for real: a connection from the one host to the other, next to what the definition says of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pachon.drivers.ssh import Credentials, Fleet
from pachon.drivers.ssh import Host as Session
from pachon.errors import PachonError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Host
from pachon.tracing import Trace

Outcome = Literal["connected", "refused", "unreachable", "no answer", "not tried"]
WAIT_SECONDS = 4.0
ANSWER_SECONDS = 20.0

CONNECT = """
import errno, socket

def main(call):
    try:
        socket.create_connection((call["address"], call["port"]), timeout=call["seconds"]).close()
    except TimeoutError:
        return {"outcome": "no answer", "said": "no answer within %g s" % call["seconds"]}
    except OSError as error:
        outcome = "refused" if error.errno == errno.ECONNREFUSED else "unreachable"
        return {"outcome": outcome, "said": error.strerror or str(error)}
    return {"outcome": "connected", "said": ""}
"""
LISTENS = """
def main(call):
    listening = False
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name) as table:
            for line in list(table)[1:]:
                fields = line.split()
                listening |= fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == call["port"]
    return {"listening": listening}
"""


class Trial(Frozen):
    """What came of trying."""

    outcome: Outcome
    said: str
    """By the system of the source host, or why nothing was tried."""
    listening: bool | None
    """Whether anything listens on that port of the target; None if it could not be asked."""
    agrees: bool | None
    """Whether the world is as the definition has it; None if that cannot be told."""


async def attempt(facility: Facility, source: Host, target: Host, traced: Trace, *, state: Path) -> Trial:
    """A connection from the source to the traced address and port.

    Raises:
        PachonError: the source host cannot be reached.
    """
    transport, _, number = traced.port.partition("/")
    if transport != "tcp":
        said = "only a tcp port can be tried: HOST:PORT" if not transport else f"{transport} answers nothing by itself"
        return Trial(outcome="not tried", said=said, listening=None, agrees=None)
    async with Fleet(Credentials.of_state(state)) as fleet:
        listening = await _listens(fleet, _address(facility, target), int(number))
        call = {"address": traced.target_address, "port": int(number), "seconds": WAIT_SECONDS}
        told = await _run(await fleet.host(_address(facility, source)), CONNECT, call)
    outcome: Outcome = told["outcome"]
    agrees = agreement(traced, outcome, listening=listening)
    return Trial(outcome=outcome, said=str(told["said"]), listening=listening, agrees=agrees)


def agreement(traced: Trace, outcome: Outcome, *, listening: bool | None) -> bool | None:
    """Whether what came of trying is what was to be expected.

    A firewall of ours refuses as a port does on which nobody listens, so a refusal tells something only where somebody
    listens.
    """
    if outcome == "connected":
        return traced.verdict == "allowed"
    if outcome == "refused" and not listening:
        return None
    return traced.verdict != "allowed"


async def _listens(fleet: Fleet, address: str, port: int) -> bool | None:
    try:
        return bool((await _run(await fleet.host(address), LISTENS, {"port": port}))["listening"])
    except PachonError:
        return None


async def _run(session: Session, program: str, call: dict[str, Any]) -> dict[str, Any]:
    return await session.run_program(program, call, timeout=timedelta(seconds=ANSWER_SECONDS))


def _address(facility: Facility, host: Host) -> str:
    return str(facility.site(host.site).machine_by_serial[host.machine].management_address)
