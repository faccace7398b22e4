"""What plays are about to lay down that is not there yet: kept with their intents, since who is killed tells nothing.

It is read from the text of roles (``role_effects.foreseen``), and hosts are asked what of it they have already: that is
somebody else's, and stays when the role goes or does not mention it any more.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pachon import hostvars
from pachon.drivers.probe import LOOK, Values
from pachon.errors import PachonError
from pachon.layers.following import RoleWork
from pachon.layers.recording import Probes
from pachon.layers.role_effects import foreseen
from pachon.model.facility import Facility, HostName, Site
from pachon.model.manifest import GOING, IS, WANTED, Manifest, Subject


def told_by_text(
    facility: Facility, site: Site, works: Iterable[RoleWork], *, host_only: Collection[str]
) -> dict[str, Sequence[Subject]]:
    """By address of the role, what its text says that it lays down; ``host_only`` as of ``booking.book``."""
    by_name = {host.name: host for host in site.active_hosts}
    return {
        work.address: foreseen(
            work.role,
            hostvars.of_role(facility, by_name[work.host], work.role),
            host_only=work.address in host_only,
        )
        for work in works
    }


async def kept_with_intents(
    works: Iterable[RoleWork],
    told: Mapping[str, Sequence[Subject]],
    probe: Probes,
    addresses: Mapping[HostName, str],
) -> dict[str, Manifest]:
    """By address of the role, what earlier plays left and what this one will be the first to lay down.

    ``told``: what their text says that they lay down. Of a host that cannot be asked nothing is foreseen.
    """
    asked: dict[HostName, list[tuple[RoleWork, Subject]]] = {}
    for work in works:
        if new := _new(told.get(work.address, ()), work.before):
            asked.setdefault(work.host, []).extend((work, each) for each in new)
    subjects = {host: [subject for _, subject in each] for host, each in asked.items()}
    answers = await probe.record(addresses, subjects, limit=LOOK) if asked else {}
    found: dict[str, list[Subject]] = {}
    for host, all_ in asked.items():
        answer: Values | PachonError = answers.get(host, ())
        for (work, subject), values in zip(all_, () if isinstance(answer, PachonError) else answer, strict=False):
            if (mine := _mine(subject, values)) is not None:
                found.setdefault(work.address, []).append(mine)
    return {
        work.address: before.model_copy(update={"subjects": (*before.subjects, *found.get(work.address, ()))})
        for work in works
        if work.before is not None or work.address in found
        for before in [work.before or Manifest()]
    }


def _new(told: Iterable[Subject], before: Manifest | None) -> list[Subject]:
    """What is to be asked for: what could go again one day, and earlier plays did not lay down."""
    known = set() if before is None else {each.name for each in (*before.subjects, *before.left)}
    new: dict[str, Subject] = {}
    for each in told:
        if each.kind in GOING and each.name not in known:
            aspects = tuple(WANTED) if each.kind == "unit" else ()
            new.setdefault(each.name, Subject(kind=each.kind, name=each.name, owner=each.owner, aspects=aspects))
    return list(new.values())


def _mine(subject: Subject, found: Mapping[str, Any]) -> Subject | None:
    """What of it only the play can have brought about, where this is how it was found."""
    if subject.kind != "unit":
        return subject if found.get(IS) == "absent" else None
    values = {aspect: wanted for aspect, wanted in WANTED.items() if found.get(aspect) != wanted}
    return subject.model_copy(update={"values": values}) if values else None
