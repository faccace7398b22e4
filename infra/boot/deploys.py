"""The course of a deploy as a pure state machine, and the records of it that survive the service.

    waiting ──fetch──▶ fetched ──hello──▶ deploying ──done──▶ done
       └────────────────hello───────────────▲  │
    every live state ──fail──▶ failed          └─ host keys are signed only here

What decides is a function of (record, what was said, what is known of the machine); only ``Records`` touches files.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from infra.boot import ca
from infra.boot.orders import Deploy, Hello, MachineSettings, Order, State
from pachon.errors import RefusedError
from pachon.model.base import Frozen

LIVE = (State.WAITING, State.FETCHED, State.DEPLOYING)
KEPT_REFUSALS = 10

SILENCE = {
    State.WAITING: (
        "never asked for its deploy image",
        "see that it is powered on, that its BMC took the boot source (UEFI HTTP or virtual media), that its first NIC "
        "is cabled to the management segment and has the MAC of the hardware tables; then run again",
    ),
    State.FETCHED: (
        "fetched the deploy image but never called back",
        "see its console: the image must boot and get an address by DHCP; then run again",
    ),
    State.DEPLOYING: (
        "stopped speaking in the middle of its deploy",
        "see its console and its power state; then run again",
    ),
}


class RefusalError(RefusedError):
    """A machine gets nothing; ``fails`` says whether its deploy is over by that."""

    def __init__(self, message: str, *, cure: str, fails: bool) -> None:
        super().__init__(message, cure=cure)
        self.fails = fails


def digest(secret: str) -> str:
    """What is kept of a token or a session."""
    return hashlib.sha256(secret.encode()).hexdigest()


def still_good(record: Deploy | None, generation: str) -> bool:
    """Whether an earlier deploy already is, or is becoming, what is asked for: then nothing is started."""
    return record is not None and record.generation == generation and record.state is not State.FAILED


def begun(order: Order, *, deploy_id: str, token: str, rack: str, now: datetime) -> Deploy:
    """A new deploy, waiting for its machine."""
    return Deploy(
        id=deploy_id,
        serial=order.serial,
        host=order.host,
        generation=order.generation,
        rack=rack,
        state=State.WAITING,
        since=now,
        phase="waiting",
        token_sha256=digest(token),
    )


def fetched(record: Deploy) -> Deploy:
    """After the machine has read its deploy image."""
    if record.state is State.WAITING:
        return record.model_copy(update={"state": State.FETCHED, "phase": "booting"})
    return record


def greeted(
    record: Deploy, hello: Hello, *, machine: MachineSettings, source: str, clock_unix: float, skew_seconds: int
) -> Deploy:
    """After the machine has proven who it is.

    Raises:
        RefusalError: it is not that machine, or its clock is wrong, or its token was used already.
    """
    if source != str(machine.address):
        raise RefusalError(
            f"orders of {machine.serial} were asked for from {source}, its address is {machine.address}",
            cure="find what has that address; the machine itself may go on",
            fails=False,
        )
    if record.state is State.DEPLOYING:
        if digest(hello.session) == record.session_sha256 and hello.serial == machine.serial:
            return record
        raise RefusalError(
            f"the token of {machine.serial} was used already",
            cure="if the machine was restarted in the middle of its deploy, wait until this one has failed and run "
            "again; otherwise find what else uses its address",
            fails=False,
        )
    if record.state not in LIVE:
        raise RefusalError(f"the deploy of {machine.serial} is over ({record.state})", cure="run again", fails=False)
    if hello.serial != machine.serial:
        raise RefusalError(
            f"the machine that came says its serial is {hello.serial!r}, the definition says {machine.serial!r}",
            cure="correct the serial or the BMC address in the hardware tables, or the cabling",
            fails=True,
        )
    if machine.mac not in hello.macs:
        raise RefusalError(
            f"machine {machine.serial} has no NIC {machine.mac} (it has {', '.join(hello.macs) or 'none'})",
            cure="correct its MAC in the hardware tables",
            fails=True,
        )
    off = hello.clock_unix - clock_unix
    if abs(off) > skew_seconds:
        told = datetime.fromtimestamp(hello.clock_unix, record.since.tzinfo).isoformat(timespec="seconds")
        direction = "ahead" if off > 0 else "behind"
        raise RefusalError(
            f"the clock of {machine.serial} says {told}, {abs(off):.0f} s {direction} of the boot service's; "
            f"allowed are {skew_seconds} s",
            cure="set the machine's clock (UTC) in its UEFI setup or by its BMC, and run again; it is never set from "
            "here",
            fails=True,
        )
    return record.model_copy(
        update={
            "state": State.DEPLOYING,
            "phase": "hello",
            "session_sha256": digest(hello.session),
            "inventory": hello.inventory,
        }
    )


def heard(record: Deploy, *, session: str) -> None:
    """Nothing, if this is the machine that proved itself and its deploy is under way.

    Raises:
        RefusalError: it is not.
    """
    if record.state is not State.DEPLOYING or digest(session) != record.session_sha256:
        raise RefusalError(
            f"not a machine being deployed as {record.serial} ({record.state})", cure="run again", fails=False
        )


def moved(record: Deploy, *, phase: str, fraction: float | None, message: str) -> Deploy:
    """After the machine said how far it is."""
    return record.model_copy(update={"phase": phase, "fraction": fraction, "message": message})


def keyed(record: Deploy, *, host_keys: Sequence[str]) -> Deploy:
    """After the machine offered its host keys, before they are signed.

    Raises:
        RefusalError: it offered other ones before.
    """
    offered = tuple(host_keys)
    if record.host_keys and record.host_keys != offered:
        raise RefusalError(f"{record.serial} offered other host keys before", cure="run again", fails=False)
    if not 0 < len(offered) <= 4:
        raise RefusalError(f"{record.serial} offered {len(offered)} host keys", cure="offer one to four", fails=False)
    return record.model_copy(update={"host_keys": offered})


def finished(record: Deploy, *, phases: dict[str, float]) -> Deploy:
    """After the machine wrote everything and is about to restart from its disk."""
    return record.model_copy(
        update={"state": State.DONE, "phase": "done", "fraction": 1.0, "message": "", "phases": phases}
    )


def failed(record: Deploy, *, error: str, cure: str) -> Deploy:
    """After the deploy ended badly; an ended deploy stays as it is."""
    if record.state not in LIVE:
        return record
    return record.model_copy(update={"state": State.FAILED, "error": error, "cure": cure})


def silenced(record: Deploy, *, seconds: int) -> Deploy:
    """After the machine said nothing for too long."""
    what, cure = SILENCE[record.state]
    phase = f" (phase {record.phase})" if record.state is State.DEPLOYING else ""
    told = f"machine {record.serial} {what}{phase}: nothing was heard of it for {seconds} s"
    if record.refusals:
        told += f"; refused meanwhile: {record.refusals[-1]}"
    return failed(record, error=told, cure=cure).model_copy(update={"silent": True})


def refused(record: Deploy, reason: str) -> Deploy:
    """With one more note of who was turned away."""
    if record.refusals and record.refusals[-1] == reason:
        return record
    return record.model_copy(update={"refusals": (*record.refusals, reason)[-KEPT_REFUSALS:]})


class Kept(Frozen):
    """One file of ``Records``."""

    order: Order
    deploy: Deploy


class Records:
    """Orders and deploys of one site, by serial; every change of state is on disk before it is answered.

    Tokens lie in files of their own, only as long as the machine has not used them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "deploys"
        self._tokens = folder / "tokens"
        for path in (self._folder, self._tokens):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kept: dict[str, Kept] = {}
        for path in sorted(self._folder.glob("*.json")):
            kept = Kept.model_validate_json(path.read_text())
            self._kept[kept.order.serial] = kept

    def get(self, serial: str) -> Kept | None:
        """What is known of this machine."""
        return self._kept.get(serial)

    def all(self) -> list[Kept]:
        """Everything, by serial."""
        return [self._kept[serial] for serial in sorted(self._kept)]

    def by_token(self, token: str) -> Kept | None:
        """The deploy that this token belongs to."""
        wanted = digest(token)
        return next((kept for kept in self._kept.values() if kept.deploy.token_sha256 == wanted), None)

    def by_address(self, addresses: dict[str, str], source: str) -> Kept | None:
        """The deploy of the machine with this address; ``addresses`` maps them to serials."""
        serial = addresses.get(source)
        return self._kept.get(serial) if serial else None

    def put(self, order: Order, deploy: Deploy, *, durable: bool = True) -> None:
        """Keep this; ``durable=False`` for mere progress, which may be lost with the service."""
        kept = Kept(order=order, deploy=deploy)
        self._kept[order.serial] = kept
        if durable:
            ca.write(self._folder / f"{order.serial}.json", kept.model_dump_json(indent=1) + "\n")

    def drop(self, serial: str) -> None:
        """Forget this machine."""
        self._kept.pop(serial, None)
        self.drop_token(serial)
        (self._folder / f"{serial}.json").unlink(missing_ok=True)

    def keep_token(self, serial: str, token: str) -> None:
        """Keep the token until it is used."""
        ca.write(self._tokens / serial, token)

    def token(self, serial: str) -> str:
        """The token that this machine has not used yet, or nothing."""
        try:
            return (self._tokens / serial).read_text()
        except FileNotFoundError:
            return ""

    def drop_token(self, serial: str) -> None:
        """Forget the token."""
        (self._tokens / serial).unlink(missing_ok=True)
