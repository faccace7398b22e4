"""Folds equal actions of a wave into one line, so that a plan of thousands fits a screen."""

from collections.abc import Iterable, Sequence

from pachon.model.base import Frozen
from pachon.plan.document import RISKS, Action, Envelope, Plan, Risk, Verb

NAMED = 3
"""So many are named one by one; of more, the first and the last."""


class Line(Frozen):
    """Actions of one wave with the same verb on the same kind of thing at one site."""

    wave: int
    site: str
    verb: Verb
    kind: str
    """``host``, ``volume``, or ``role firewall``."""
    addresses: tuple[str, ...]
    risk: Risk
    why_risk: str
    reason: str

    @property
    def what(self) -> str:
        """In words: ``16 x create host``."""
        number = f"{len(self.addresses)} x " if len(self.addresses) > 1 else ""
        return f"{number}{self.verb} {self.kind}"

    @property
    def where(self) -> str:
        """The names, the middle ones left out."""
        return named([_name(address) for address in self.addresses])


class Deferral(Frozen):
    """Hosts whose roles wait for them, or a cluster whose objects do."""

    site: str
    hosts: tuple[str, ...]
    """None of a cluster."""
    number: int
    """Of roles, or of objects."""
    risk: Risk

    @property
    def what(self) -> str:
        """In words: ``12 roles``."""
        return counted(self.number, "role" if self.hosts else "object")

    @property
    def where(self) -> str:
        """In words: ``2 hosts (a, b)``."""
        number = len(self.hosts)
        return f"{number} host{'s' if number > 1 else ''} ({named(self.hosts)})" if number else "the cluster"

    @property
    def told(self) -> str:
        """In a line."""
        at, once = ("on", "once they stand") if self.hosts else ("in", "once it can be asked")
        return f"deferred at {self.site}: {self.what} {at} {self.where}, at most {self.risk}, {once}"


def lines_of(plan: Plan) -> list[Line]:
    """The plan's actions, folded, in the order in which they are carried out."""
    folded: list[Line] = []
    for wave in plan.waves:
        groups: dict[tuple[str, str, str], list[Action]] = {}
        for action in wave.actions:
            groups.setdefault((action.site, kind_of(action.address), action.verb), []).append(action)
        folded += [_line(wave.number, kind, members) for (_, kind, _), members in groups.items()]
    return folded


def deferrals_of(plan: Plan) -> list[Deferral]:
    """The plan's envelopes, folded by site."""
    found = []
    for site in plan.sites:
        envelopes = [envelope for envelope in plan.envelopes if envelope.site == site]
        objects = [envelope for envelope in envelopes if is_of_cluster(envelope)]
        for some in ([each for each in envelopes if each not in objects], objects):
            if some:
                found.append(
                    Deferral(
                        site=site,
                        hosts=() if some is objects else tuple(_name(envelope.host) for envelope in some),
                        number=sum(len(envelope.addresses) for envelope in some),
                        risk=max((envelope.risk for envelope in some), key=RISKS.index),
                    )
                )
    return found


def is_of_cluster(envelope: Envelope) -> bool:
    """Whether it holds objects of a cluster, not roles of a host."""
    return envelope.host == f"{envelope.site}/cluster"


def counted(number: int, what: str) -> str:
    """``1 role``, ``2 roles``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def header(plan: Plan) -> str:
    """One line: what, how much of each verb, under which seal."""
    counts = ", ".join(f"{number} {verb}" for verb, number in plan.counts.items()) or "nothing at all"
    roles = sum(len(envelope.addresses) for envelope in plan.envelopes if not is_of_cluster(envelope))
    objects = sum(len(envelope.addresses) for envelope in plan.envelopes if is_of_cluster(envelope))
    more = f", {roles} roles deferred" if roles else ""
    more += f", {counted(objects, 'object')} deferred" if objects else ""
    return f"plan of {plan.facility}: {counts}{more}"


def kind_of(address: str) -> str:
    """What kind of thing is at an address, in words."""
    before, found, role = address.partition("/role/")
    if found:
        return f"role {role}"
    parts = before.split("/")
    if parts[1:2] == ["object"]:
        return parts[2]
    return parts[1] if len(parts) > 1 else before


def named(names: Sequence[str]) -> str:
    """A few names; of more, the first and the last."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]}"


def _line(wave: int, kind: str, members: Sequence[Action]) -> Line:
    riskiest = max(members, key=lambda action: RISKS.index(action.risk))
    first = members[0]
    return Line(
        wave=wave,
        site=first.site,
        verb=first.verb,
        kind=kind,
        addresses=tuple(action.address for action in members),
        risk=riskiest.risk,
        why_risk=riskiest.why_risk,
        reason=_shared(action.reason for action in members),
    )


def _shared(reasons: Iterable[str]) -> str:
    known = list(dict.fromkeys(reasons))
    return known[0] if len(known) == 1 else f"{known[0]}, and {len(known) - 1} other reasons"


def _name(address: str) -> str:
    """The name in an address that people know it by: of a role, its host."""
    return address.partition("/role/")[0].rpartition("/")[2]
