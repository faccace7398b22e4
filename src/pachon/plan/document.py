"""The plan as a document: its types, its canonical bytes and its seal."""

import json
from typing import Any, Literal

from pydantic import ValidationError

from pachon.errors import RefusedError, UsageError
from pachon.model.base import Frozen
from pachon.model.stamp import digest

Verb = Literal["create", "update", "replace", "delete", "none", "unknown"]
VERBS: tuple[Verb, ...] = ("create", "update", "replace", "delete", "unknown", "none")
DESTROYING: tuple[Verb, ...] = ("replace", "delete")
Layer = Literal["hardware", "hosts", "clusters", "policies"]
DESTROYED: tuple[Layer, ...] = ("hardware", "clusters")
"""Layers where what goes is lost."""
Risk = Literal["low", "medium", "high", "destroys"]
RISKS: tuple[Risk, ...] = ("low", "medium", "high", "destroys")
"""From the least to the greatest."""
SEAL_SHOWN = 12


class Difference(Frozen):
    """One input before and after."""

    key: str
    """Name of the input."""
    before: Any
    """As it was recorded or seen."""
    after: Any
    """As the definition has it."""


class Action(Frozen):
    """One planned change at an address."""

    site: str
    """Where it is done."""
    layer: Layer
    """Layer of work that does it."""
    stack: str
    """Stack of the hardware layer that holds it (``leftover``: of a killed run); else the layer."""
    address: str
    """Of what it is done to."""
    verb: Verb
    """What is done."""
    before: str = ""
    """Generation that stands, as far as the engine knows."""
    after: str = ""
    """Generation that is to be made (or removed, where it is a delete)."""
    given: str = ""
    """Of a role: digest of what it is played with, its text and its arguments; with anything else it is not played.
    Of an object in a cluster: digest of what is applied; of its delete, which object goes."""
    differences: tuple[Difference, ...] = ()
    """Inputs that change, where it is an update or a replacement."""
    needs: tuple[str, ...] = ()
    """Addresses whose actions in this plan come first; its own where it moves from one stack to another."""
    reason: str
    """Why it is to be done, for people."""
    risk: Risk = "low"
    """How much it may hurt."""
    why_risk: str = ""
    """Why the risk is that, for people."""


class Wave(Frozen):
    """Actions that need nothing but actions of earlier waves."""

    number: int
    """From one."""
    actions: tuple[Action, ...]
    """By site, layer and address."""


class Envelope(Frozen):
    """Work on a host, or in a cluster, that cannot be previewed yet; inside these bounds it goes on by itself later."""

    site: str
    """Where it is done."""
    host: str
    """Address of the host, or of the cluster (``base/cluster``)."""
    waits_for: tuple[str, ...]
    """Addresses whose actions have to be done first."""
    addresses: tuple[str, ...]
    """Of the roles that may be played, or the objects that may be applied."""
    given: dict[str, str]
    """By address, digest of what the role is played with, or of what is applied."""
    verbs: tuple[Verb, ...]
    """What may be done at them."""
    risk: Risk
    """The highest that may come."""
    reason: str
    """Why it cannot be previewed, for people."""


class EngineRun(Frozen):
    """A stack whose engine is started, be it only to find that nothing has to be done."""

    address: str
    """Of the stack."""
    reason: str
    """Why, for people."""


class Fact(Frozen):
    """Something that was so when the plan was made, and that it relies on."""

    address: str
    """What it is about."""
    kind: Literal["journal", "roles", "secret", "seen", "stack"]
    """What was made; receipts of a host's roles; a secret by a keyed digest; a resource as seen; receipt of a stack."""
    value: str
    """A digest, or what was seen in a few words."""


class Protection(Frozen):
    """Something that would be lost for good: to be named by itself, whatever else was approved."""

    address: str
    """What has to be named."""
    loses: Literal["data", "fields of others", "last copy", "quorum"]
    """What would be lost; of an object in a cluster, fields that somebody else has set."""
    by: tuple[str, ...]
    """Addresses whose destruction loses it."""
    why: str
    """For people."""


class Plan(Frozen):
    """All that would be done to (some sites of) a facility, and what that was made from. Sealed by a digest."""

    format: Literal[1] = 1
    """Version of this format."""
    facility: str
    """Its name."""
    sites: tuple[str, ...]
    """Sites that it is for."""
    child_of: str = ""
    """Seal of the plan whose envelopes did not hold this work."""
    definition_digest: str
    """Of the whole definition that it was made from."""
    definition: dict[str, str]
    """Digest of each part of the definition."""
    code_digest: str
    """Of the program that it was made by."""
    code: dict[str, str]
    """Digest of each part of the program: images, roles, stacks and provider, control layer."""
    parents: dict[str, str]
    """By site, the run that last changed something there."""
    counts: dict[Verb, int]
    """Actions of each verb; unknown ones are counted here and never shown as unchanged."""
    waves: tuple[Wave, ...]
    """Without what needs nothing done."""
    envelopes: tuple[Envelope, ...]
    """Bounds of the work that is deferred."""
    engines: tuple[EngineRun, ...]
    """Engines that are started."""
    protections: tuple[Protection, ...]
    """What would be lost for good."""
    facts: tuple[Fact, ...]
    """What it relies on."""
    notes: tuple[str, ...]
    """What checks and looks have to say, for people."""
    seal: str = ""
    """Digest of everything else in it."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions, wave by wave."""
        return tuple(action for wave in self.waves for action in wave.actions)

    @property
    def pending(self) -> bool:
        """Whether anything is to be done, or may be."""
        return bool(self.waves or self.envelopes)

    @property
    def destroys(self) -> dict[str, Verb]:
        """Addresses that need an approval by name.

        A machine's record goes with its host and holds nothing; what a role left on a host is put aside there.
        """
        gone = (action for action in self.actions if action.layer in DESTROYED and action.verb in DESTROYING)
        listed = {action.address: action.verb for action in gone}
        return {address: verb for address, verb in sorted(listed.items()) if "/machine/" not in address}


def sealed(plan: Plan) -> Plan:
    """The plan with the seal over everything else in it."""
    return plan.model_copy(update={"seal": _seal_of(plan)})


def text_of_file(plan: Plan) -> str:
    """The bytes of a plan's file: the same for the same plan."""
    return json.dumps(plan.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=True) + "\n"


def read_plan(text: str, where: str) -> Plan:
    """The plan in a file.

    Raises:
        UsageError: that is no plan.
        RefusedError: it was changed since it was sealed.
    """
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{where} is no plan of this version: {place}: {first['msg']}",
            cure="make one with 'pachon plan --out FILE'",
        ) from error
    if plan.seal != _seal_of(plan):
        raise RefusedError(
            f"{where} was changed since it was sealed",
            cure="make a new plan: 'pachon plan --out FILE'",
        )
    return plan


def _seal_of(plan: Plan) -> str:
    return digest(plan.model_dump(mode="json", exclude={"seal"}))
