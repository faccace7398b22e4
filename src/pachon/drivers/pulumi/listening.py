"""Reads the engine's events into our values. Events are data from the engine; no screen text is parsed."""

import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pachon.drivers.pulumi.answers import Change, Exported, Failure, PlannedAction, Verb
from pachon.model.packing import unpack
from pachon.model.stack_documents import DOCUMENT

if TYPE_CHECKING:
    from pulumi.automation.events import EngineEvent, StepEventMetadata

_VERBS: dict[str, Verb] = {
    "same": "none",
    "create": "create",
    "update": "update",
    "replace": "replace",
    "delete": "delete",
    "import": "create",
    "import-replacement": "replace",
    "read": "none",
    "refresh": "none",
}
_PARTS = frozenset({"create-replacement", "delete-replaced", "discard-replaced", "remove-pending-replace"})
"""Steps of a replacement, which is told once."""

_OURS = "pachon:"
_COMPONENTS = "pachon:components:"
_STACK = "pulumi:pulumi:Stack"
_PLUG_IN = "default_"
"""How the name of the plug-in itself begins, which the engine keeps as a resource."""
_GONE = (
    "could not read plugin",
    "error reading from server",
    "exited prematurely",
    "rror while dialing",
    "transport is closing",
)
"""What the engine says of whatever it was about to do when the plug-in ended."""
_WORDS_KEPT = 30
_WORDS_TOLD = 4


class Listener:
    """Gathers what one operation tells. Called from the SDK's thread, one event at a time."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._plug_in_said: deque[str] = deque(maxlen=_WORDS_KEPT)
        self.planned: dict[str, PlannedAction] = {}
        self.outputs: dict[str, Any] = {}
        self.failed: dict[str, Failure] = {}
        self.said: list[str] = []
        self.plug_in_ended = False
        self._under_way: set[str] = set()
        self._blocked = False
        self._heard = time.monotonic()

    def stuck_seconds(self) -> float:
        """How long nothing has gone on, after the delete of a replacement failed; 0 while all is well.

        The engine then waits for ever for the delete (seen with 3.250.0 under ``--continue-on-error``).
        """
        return time.monotonic() - self._heard if self._blocked and not self._under_way else 0.0

    def __call__(self, event: "EngineEvent") -> None:
        """Take in one event."""
        self._follow(event)
        if event.resource_pre_event is not None:
            self._step(event.resource_pre_event.metadata)
        elif event.res_outputs_event is not None:
            metadata = event.res_outputs_event.metadata
            if metadata.type == _STACK and metadata.new is not None:
                self.outputs = _read(metadata.new.outputs or {})
            self._step(metadata)
        elif event.res_op_failed_event is not None:
            self._fail(event.res_op_failed_event.metadata)
        elif event.diagnostic_event is not None:
            self._hear(
                event.diagnostic_event.severity, event.diagnostic_event.urn or "", event.diagnostic_event.message
            )

    def _follow(self, event: "EngineEvent") -> None:
        self._heard = time.monotonic()
        if event.resource_pre_event is not None and _is_ours(event.resource_pre_event.metadata.type):
            self._under_way.add(event.resource_pre_event.metadata.urn)
        elif event.res_outputs_event is not None:
            self._under_way.discard(event.res_outputs_event.metadata.urn)
        elif event.res_op_failed_event is not None:
            metadata = event.res_op_failed_event.metadata
            self._under_way.discard(metadata.urn)
            self._blocked |= _op(metadata) in _PARTS

    def actions(self) -> tuple[PlannedAction, ...]:
        """What was planned or done, without what failed, by address."""
        return tuple(self.planned[key] for key in sorted(self.planned) if key not in self.failed)

    def _step(self, metadata: "StepEventMetadata") -> None:
        op = _op(metadata)
        if not _is_ours(metadata.type) or op in _PARTS:
            return
        address = address_of(metadata.urn)
        known = self.planned.get(address)
        verb = _VERBS.get(op, "unknown")
        if known is not None and known.verb != "none" and verb == "none":
            return  # a refresh's "none" after what was found
        old = unpack(metadata.old.inputs or {}) if metadata.old is not None else {}
        new = unpack(metadata.new.inputs or {}) if metadata.new is not None else {}
        self.planned[address] = PlannedAction(
            address=address,
            kind=metadata.type,
            verb=verb,
            reason=_reason(verb, old, new),
            generation=str((old if verb == "delete" else new).get("generation", "")),
            previous_generation=str(old.get("generation", "")),
            changes=_changes(old, new) if verb in ("update", "replace") else (),
        )

    def _fail(self, metadata: "StepEventMetadata") -> None:
        address = address_of(metadata.urn)
        self.failed.setdefault(
            address, Failure(address=address, error="PermanentError", message=f"{metadata.op} failed")
        )

    def settle(self) -> None:
        """Say of what failed because the plug-in ended just that, with the plug-in's last words."""
        gone = {address for address, failure in self.failed.items() if any(word in failure.message for word in _GONE)}
        if not gone and not any(word in said for said in self.said for word in _GONE):
            return
        words = " / ".join(list(self._plug_in_said)[-_WORDS_TOLD:]) or "nothing"
        self.plug_in_ended = True
        for address in gone:
            failure = self.failed.pop(address)
            if not address.startswith(_PLUG_IN):
                message = f"the provider's process ended before this was done; the last it said was: {words}"
                self.failed[address] = failure.model_copy(update={"message": message, "cure": self._cure()})
        self.said = [said for said in self.said if not any(word in said for word in _GONE)]
        self.said.append(f"the provider's process ended; the last it said was: {words} ({self._cure()})")

    def _cure(self) -> str:
        return "run again: what is done stays done" + (f"; its log is {self._log}" if self._log else "")

    def _hear(self, severity: str, urn: str, message: str) -> None:
        """Keep what is said; what the plug-in wrote to its standard error comes as ``info#err``."""
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {severity} {message.rstrip()}\n")
        if severity == "error":
            self._take_dump(message)
            self._diagnose(urn, message)
        elif severity == "info#err":
            self._plug_in_said.extend(line.strip() for line in message.splitlines() if line.strip())

    def _take_dump(self, message: str) -> None:
        """Of a plug-in that ended at its start the engine tells all that it had said, in one message."""
        _, found, dump = message.partition("STDERR streams of the plugin:")
        if found:
            self._plug_in_said.extend(line.strip() for line in dump.splitlines() if line.strip())

    def _diagnose(self, urn: str, message: str) -> None:
        text = " ".join(message.split())
        if urn and _OURS in urn and _COMPONENTS not in urn.rpartition("::")[0].rpartition("$")[2]:
            address = address_of(urn)
            self.failed[address] = Failure(address=address, error="PermanentError", message=text)
        else:
            self.said.append(text)


def _read(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs with their document read, as it is if an earlier version wrote it."""
    document = outputs.get(DOCUMENT)
    return {**outputs, DOCUMENT: json.loads(document)} if isinstance(document, str) else dict(outputs)


def _op(metadata: "StepEventMetadata") -> str:
    return str(getattr(metadata.op, "value", metadata.op))


def _is_ours(kind: str) -> bool:
    """Whether a resource of that type is carried out by our provider."""
    return kind.startswith(_OURS) and not kind.startswith(_COMPONENTS)


def address_of(urn: str) -> str:
    """Our address of the resource with that URN (its name)."""
    return urn.rpartition("::")[2]


def exported(deployment: Mapping[str, Any] | None) -> tuple[Exported, ...]:
    """Our resources in a deployment, as the engine writes it."""
    return tuple(
        Exported(
            urn=resource["urn"],
            kind=resource["type"],
            address=address_of(resource["urn"]),
            generation=str(resource.get("inputs", {}).get("generation", "")),
            inputs=unpack(resource.get("inputs", {})),
        )
        for resource in (deployment or {}).get("resources") or []
        if _is_ours(resource["type"])
    )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return tuple(Change(key=key, before=old.get(key), after=new.get(key)) for key in keys if not key.startswith("__"))


def _reason(verb: Verb, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = ", ".join(change.key for change in _changes(old, new) if change.key != "generation")
    match verb:
        case "create":
            return "in the definition, not yet in the world as far as is known"
        case "update":
            return f"{changed} changed" if changed else "the world has drifted: it is off"
        case "replace":
            return f"{changed or 'its generation'} changed, which cannot be done in place"
        case "delete":
            return "no longer in the definition"
        case "none":
            return "as it was left"
        case "unknown":
            return "the engine cannot tell"
