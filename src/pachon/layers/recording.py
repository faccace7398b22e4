"""From what plays told and roles say to manifests with the values that hosts really have, right after the play."""

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pachon import hostvars
from pachon.drivers.ansible import Effects
from pachon.drivers.probe import LOOK, RECORD, Rest, Seen, Values
from pachon.errors import PachonError
from pachon.layers.role_effects import Leavings, image_tasks_of, leavings
from pachon.model.facility import Facility, HostName, Site
from pachon.model.manifest import (
    ENTRIES,
    LEFT,
    STRANGER,
    Difference,
    Expected,
    Manifest,
    Subject,
    is_left,
    recorded,
    subjects_of,
    unmentioned,
)

if TYPE_CHECKING:
    from pachon.layers.following import RoleWork


class Probes(Protocol):
    """Reads, compares and tidies hosts (``pachon.drivers.probe.Probe``)."""

    async def check(
        self, addresses: Mapping[str, str], expected: Mapping[str, Sequence[Expected]], *, limit: timedelta = LOOK
    ) -> dict[str, Seen | PachonError]:
        """What differs on each host, or why it could not be asked."""

    async def record(
        self, addresses: Mapping[str, str], subjects: Mapping[str, Sequence[Subject]], *, limit: timedelta = RECORD
    ) -> dict[str, Values | PachonError]:
        """What each host has of these subjects, in their order, or why it could not be asked."""

    async def sweep(
        self, addresses: Mapping[str, str], rest: Mapping[str, Rest], *, token: int, limit: timedelta = RECORD
    ) -> dict[str, Sequence[str] | PachonError]:
        """What went from each host, or why it could not be asked; an older writer's ``token`` is refused."""


@dataclass
class Told:
    """What one role was told to leave on one host, before anybody has looked there."""

    leavings: Leavings
    before: Manifest | None
    """Of the play before."""
    drift: Sequence[Difference]
    """For which it was played, where its inputs are the same as before; strangers always."""
    effects: Effects | None = None
    brought: frozenset[str] = frozenset()
    """Tasks of the image: what these left goes with the image, and is played only to be mended."""
    unmended: list[Difference] = field(default_factory=list)
    """What the play has not put right."""

    def manifest(self) -> Manifest:
        """The subjects, without values."""
        subjects, unknown = list(self.leavings.subjects), list(self.leavings.unknown)
        for managed in () if self.effects is None else self.effects.tasks:
            task = managed.task.partition(" : ")[2] or managed.task
            if task in self.leavings.said:
                continue
            if managed.effects is None:
                unknown.append(task)
            else:
                subjects += subjects_of(managed.effects, owner=task)
        return Manifest(subjects=tuple(subjects), unknown=tuple(dict.fromkeys(unknown)))

    def asked(self) -> tuple[Subject, ...]:
        """What the host is asked for: the subjects, and what it may still have of those of earlier plays."""
        manifest = self.manifest()
        return (*manifest.subjects, *self.over(manifest))

    def over(self, manifest: Manifest) -> tuple[Subject, ...]:
        """What of earlier plays it does not mention any more; of tasks that did not tell what they leave, nothing."""
        told, silent = self.effects is not None, {*manifest.unknown, *self.brought}
        over = unmentioned(manifest, self.before)
        kept = () if self.before is None else self.before.left
        return tuple(each for each in over if each in kept or (told and each.owner not in silent))

    def unseen(self) -> Manifest:
        """The manifest without values, where the host could not be asked."""
        bare = self.manifest()
        return bare.model_copy(update={"left": self.over(bare)})

    def taken(self, values: Sequence[Mapping[str, Any]], *, others: Collection[str]) -> Manifest:
        """The manifest with these values; what drifted and was not put right is still expected to be as before."""
        bare = self.manifest()
        number = len(bare.subjects)
        made = recorded(bare, values[:number], before=self.before, others=others)
        over = zip(self.over(bare), values[number:], strict=True)
        made = made.model_copy(update={"left": tuple(each for each, found in over if is_left(each, found))})
        wanted = {
            (each.kind, each.name, each.aspect): each for each in self.drift if each.aspect not in (LEFT, STRANGER)
        }
        subjects = []
        for subject in made.subjects:
            kept = dict(subject.values)
            for aspect, value in subject.values.items():
                difference = wanted.get((subject.kind, subject.name, aspect))
                if difference is None or value == difference.expected:
                    continue
                if not subject.anew or value == difference.seen:
                    kept[aspect] = difference.expected
                    self.unmended.append(difference)
            subjects.append(subject.model_copy(update={"values": kept}))
        still = {(each.kind, each.name) for each in made.left}
        self.unmended += [each for each in self.drift if each.aspect == LEFT and (each.kind, each.name) in still]
        inside = {
            posixpath.join(folder.name, name)
            for folder, found in zip(bare.subjects, values[:number], strict=True)
            for name in found.get(ENTRIES, ())
        }
        self.unmended += [each for each in self.drift if each.aspect == STRANGER and each.name in inside - set(others)]
        return made.model_copy(update={"subjects": tuple(subjects)})


def told_by_plays(
    facility: Facility,
    site: Site,
    works: Mapping[HostName, Mapping[str, "RoleWork"]],
    effects: Mapping[tuple[HostName, str], Effects],
    *,
    host_only: Collection[str],
) -> dict[HostName, dict[str, Told]]:
    """What each of these roles, just played, was told to leave; ``host_only`` as of ``booking.book``."""
    by_name = {host.name: host for host in site.active_hosts}
    return {
        name: {
            role: Told(
                leavings=leavings(
                    role, hostvars.of_role(facility, by_name[name], role), baked=work.address in host_only
                ),
                before=work.before,
                drift=tuple(each for each in work.drift if not work.renewed or each.aspect == STRANGER),
                effects=effects.get((name, role)),
                brought=image_tasks_of(role),
            )
            for role, work in roles.items()
        }
        for name, roles in works.items()
    }


async def record(
    told: Mapping[HostName, Mapping[str, Told]], probe: Probes, addresses: Mapping[HostName, str]
) -> dict[HostName, dict[str, Manifest]]:
    """The manifest of each role on each host; without values where a host could not be asked."""
    asked = {host: {role: each.asked() for role, each in roles.items()} for host, roles in told.items()}
    subjects = {host: [subject for each in roles.values() for subject in each] for host, roles in asked.items()}
    answers = await probe.record(addresses, {host: each for host, each in subjects.items() if each})
    made: dict[HostName, dict[str, Manifest]] = {}
    for host, roles in asked.items():
        answer: Values | PachonError = answers.get(host, ())
        if isinstance(answer, PachonError):
            made[host] = {role: told[host][role].unseen() for role in roles}
            continue
        left, names = list(answer), {each.name for each in subjects[host]}
        made[host] = {}
        for role, each in roles.items():
            made[host][role] = told[host][role].taken(left[: len(each)], others=names)
            left = left[len(each) :]
    return made
