"""Makes the document from what engines, receipts and eyes said: order, risk, what is deferred, what is protected."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from pachon.model.base import Frozen
from pachon.model.facility import Facility
from pachon.model.stamp import digest
from pachon.plan.document import (
    RISKS,
    VERBS,
    Action,
    EngineRun,
    Envelope,
    Fact,
    Plan,
    Protection,
    Verb,
    Wave,
    sealed,
)
from pachon.plan.needs import Ground, needs_of, waves_of
from pachon.plan.protection import protections_of
from pachon.plan.risks import risk_of

CONTROLLER = "kubernetes_controller"
"""The role that makes a cluster."""
ROLES = "hosts"
"""Name of the place where roles stand beside stacks."""


class Made(Frozen):
    """Something that stands by our doing, as the journal has it."""

    address: str
    inputs: dict[str, Any]


class DeferredRoles(Frozen):
    """Roles of a host that can be told only once the host is there."""

    site: str
    host: str
    """Address of the host."""
    given: dict[str, str]
    """Of each role, by address, digest of what it is played with."""


class DeferredObjects(Frozen):
    """Objects of a cluster that can be told only once it can be asked."""

    cluster: str
    """Its address."""
    host: str = ""
    """Address of the host that it is governed from; empty for a cluster that existed before."""
    given: dict[str, str]
    """Of each object, by address, digest of what is applied."""
    why: str
    """Why it cannot be asked, for people."""


class Findings(Frozen):
    """What one site's layers say would be done, and what they said it from."""

    site: str
    actions: tuple[Action, ...]
    """Without needs and risk; those with nothing to do as well."""
    deferred: tuple[DeferredRoles, ...] = ()
    objects: DeferredObjects | None = None
    taking: dict[str, str] = Field(default_factory=dict)
    """Of each object of which fields are somebody else's, whose: applying it takes them."""
    engines: tuple[EngineRun, ...] = ()
    made: tuple[Made, ...] = ()
    holding: dict[str, str] = Field(default_factory=dict)
    """Of each volume that is to go: ``empty``, ``holds …``, or why that is not known."""
    facts: tuple[Fact, ...] = ()
    parent: str = ""
    notes: tuple[str, ...] = ()


class Basis(Frozen):
    """What a plan is made from besides the findings of its sites."""

    definition: dict[str, str]
    code: dict[str, str]
    roles: tuple[str, ...] = ()
    """In the order in which they are played."""


def definition_of(facility: Facility) -> dict[str, str]:
    """Digest of each part of the definition: what sites share, and each site; and what rollouts left in force there."""
    whole = facility.model_dump(mode="json")
    sites = whole.pop("sites")
    left = {f"versions in force at {site['name']}": site.pop("instances") for site in sites}
    parts = {f"site {site['name']}": digest(site) for site in sites}
    return {
        "what all sites share": digest(whole),
        **parts,
        **{name: digest(each) for name, each in left.items() if each},
    }


def plan_of(
    facility: Facility,
    findings: Sequence[Findings],
    basis: Basis,
    *,
    notes: Iterable[str] = (),
    child_of: str = "",
) -> Plan:
    """The sealed plan: the same values give the same bytes."""
    proposed = [action for found in findings for action in found.actions]
    counts = count(action.verb for action in proposed)
    made = {each.address: each.inputs for found in findings for each in found.made}
    ground = Ground(facility, made, basis.roles)
    changing = sorted((action for action in proposed if action.verb != "none"), key=_order)
    needs = needs_of(changing, ground)
    holding = {address: said for found in findings for address, said in found.holding.items()}
    complete = [
        _complete(action, tuple(sorted({changing[index].address for index in needs[place]})), ground, holding)
        for place, action in enumerate(changing)
    ]
    pending = {action.address for action in complete}
    return sealed(
        Plan(
            facility=facility.name,
            sites=tuple(sorted(found.site for found in findings)),
            child_of=child_of,
            definition_digest=digest(basis.definition),
            definition=basis.definition,
            code_digest=digest(basis.code),
            code=basis.code,
            parents={found.site: found.parent for found in sorted(findings, key=lambda found: found.site)},
            counts=counts,
            waves=tuple(
                Wave(number=number, actions=tuple(complete[index] for index in members))
                for number, members in enumerate(waves_of(needs), start=1)
            ),
            envelopes=tuple(
                _envelope(each, pending, ground)
                for found in sorted(findings, key=lambda found: found.site)
                for each in (*sorted(found.deferred, key=lambda each: each.host), found.objects)
                if each is not None
            ),
            engines=tuple(sorted((run for found in findings for run in found.engines), key=lambda run: run.address)),
            protections=(*protections_of(complete, ground, holding), *_taken_from_others(findings)),
            facts=tuple(sorted((fact for found in findings for fact in found.facts), key=lambda fact: fact.address)),
            notes=tuple(dict.fromkeys([*notes, *(note for found in findings for note in found.notes)])),
        )
    )


def count(verbs: Iterable[Verb]) -> dict[Verb, int]:
    """How many of each verb there are."""
    listed = list(verbs)
    return {verb: listed.count(verb) for verb in VERBS if verb in listed}


def _order(action: Action) -> tuple[str, int, str, str]:
    return (action.site, ("hardware", "hosts", "clusters", "policies").index(action.layer), action.address, action.verb)


def _complete(action: Action, needs: tuple[str, ...], ground: Ground, holding: Mapping[str, str]) -> Action:
    risk, why = risk_of(action, ground, holding)
    return action.model_copy(update={"needs": needs, "risk": risk, "why_risk": why})


def _taken_from_others(findings: Iterable[Findings]) -> list[Protection]:
    return [
        Protection(address=address, loses="fields of others", by=(address,), why=said)
        for found in findings
        for address, said in sorted(found.taking.items())
    ]


def _envelope(deferred: DeferredRoles | DeferredObjects, pending: set[str], ground: Ground) -> Envelope:
    if isinstance(deferred, DeferredObjects):
        return Envelope(
            site=deferred.cluster.partition("/")[0],
            host=deferred.cluster,
            waits_for=tuple(
                address for address in (deferred.host, f"{deferred.host}/role/{CONTROLLER}") if address in pending
            ),
            addresses=tuple(sorted(deferred.given)),
            given=dict(sorted(deferred.given.items())),
            verbs=("create", "update"),
            risk="medium",
            reason=f"the cluster cannot be asked: {deferred.why}",
        )
    waits = [deferred.host, *ground.volumes_on(deferred.host)]
    verbs: tuple[Literal["create"], Literal["update"]] = ("create", "update")
    risks = [
        risk_of(
            Action(site=deferred.site, layer="hosts", stack=ROLES, address=address, verb="update", reason=""),
            ground,
            {},
        )[0]
        for address in deferred.given
    ]
    return Envelope(
        site=deferred.site,
        host=deferred.host,
        waits_for=tuple(address for address in waits if address in pending),
        addresses=tuple(sorted(deferred.given)),
        given=dict(sorted(deferred.given.items())),
        verbs=verbs,
        risk=max(risks, key=RISKS.index, default="low"),
        reason="what a new installation needs played is known only once it is there",
    )
