"""What a role left on a host: its subjects with their values, and how what is seen there now differs from them.

Where two tasks decide the same of one subject the later one counts, as it does on the host.
"""

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from pachon.model.base import Frozen

Kind = Literal["absent", "file", "folder", "group", "link", "mount", "package", "ruleset", "sysctl", "unit", "user"]
Values = Mapping[str, str]
"""By aspect (``mode``, ``content``, ``enabled`` …), as text."""
IS = "is"
"""The aspect that every subject has: what is there, or ``absent``."""
ENTRIES = "entries"
"""The aspect of a folder that is owned whole: names of what lies in it."""
STRANGER = "stranger"
LEFT = "left"
"""The aspect of what a role no longer mentions: it is to go."""
GOING = ("file", "folder", "link", "unit")
"""Kinds that go once no role mentions them. Packages are their image's; accounts own files by number wherever those
lie; what the kernel was set to before nobody knows, and mounts hold data: they stay."""

WANTED = {"enabled": "enabled", "running": "yes"}
UNWANTED = {"enabled": "disabled", "running": "no"}
"""Of a unit."""


class Subject(Frozen):
    """One thing on a host that a task manages."""

    kind: Kind
    name: str
    """Path, or name of the unit, account, setting …"""
    owner: str
    """The task, or the handler, as its role calls it."""
    aspects: tuple[str, ...] = ()
    declared: dict[str, str] = Field(default_factory=dict)
    """What the task itself says of aspects; the others are what the host had right after the play."""
    secret: bool = False
    """Whether its content counts by a keyed digest."""
    anew: bool = False
    """Whether a play that mends it makes another one, such as a certificate."""
    whole: bool = False
    """Of a folder: nothing may lie in it that no role put there, or that its image brought."""
    values: dict[str, str] = Field(default_factory=dict)
    brought: tuple[str, ...] = ()
    """Of a folder that is owned whole: what lay in it the first time and is no role's."""


class Manifest(Frozen):
    """All that one role left on a host."""

    subjects: tuple[Subject, ...] = ()
    unknown: tuple[str, ...] = ()
    """Tasks whose effect cannot be expressed."""
    left: tuple[Subject, ...] = ()
    """What earlier plays left and the role no longer mentions: it is to go."""
    recorded: bool = False
    """Whether the values were read off the host."""


class Expected(Frozen):
    """What is expected of one subject by all roles of a host together."""

    kind: Kind
    name: str
    secret: bool
    values: dict[str, str]
    owners: dict[str, tuple[str, str]]
    """Role and task by aspect."""
    allowed: tuple[str, ...] | None = None
    """Of a folder that is owned whole: the names that may lie in it."""
    left: bool = False
    """Whether no role mentions it any more: it is expected to be gone, or as if nobody wanted it."""

    def expects(self, difference: "Difference") -> bool:
        """Whether it is what a difference like that is found by."""
        if difference.aspect == STRANGER:
            return self.allowed is not None and self.name == posixpath.dirname(difference.name)
        if self.left or difference.aspect == LEFT:
            return self.left and difference.aspect == LEFT and self.name == difference.name
        return (self.kind, self.name) == (difference.kind, difference.name) and difference.aspect in self.values


class Difference(Frozen):
    """One aspect of one subject that is not as a role left it."""

    host: str
    role: str
    task: str
    kind: Kind
    name: str
    aspect: str
    expected: str
    seen: str

    @property
    def key(self) -> str:
        """What names it on its host."""
        return f"{self.kind}:{self.name}:{self.aspect}"

    @property
    def said(self) -> str:
        """A few words for people."""
        if self.aspect == STRANGER:
            return f"{self.name} is a stranger"
        if self.aspect == LEFT:
            return f"{self.kind} {self.name} is left over"
        if self.aspect == IS:
            return f"{self.kind} {self.name}: {self.seen} instead of {self.expected}"
        return f"{self.kind} {self.name}: {self.aspect} {_short(self.seen)} instead of {_short(self.expected)}"


def subjects_of(effects: Iterable[Mapping[str, Any]], *, owner: str) -> tuple[Subject, ...]:
    """The subjects of a task's effects (``pachon.model.effects``)."""
    return tuple(Subject.model_validate({**effect, "owner": owner}) for effect in effects)


def recorded(
    manifest: Manifest,
    seen: Sequence[Mapping[str, Any]],
    *,
    before: Manifest | None,
    others: Collection[str] = (),
) -> Manifest:
    """The manifest with what the host answered for its subjects, in their order.

    ``before`` is the manifest of the play before this one. ``others`` are names of subjects of the host's other roles.
    """
    known = {} if before is None else {(each.kind, each.name): each for each in before.subjects}
    own = {*others, *(each.name for each in manifest.subjects)}
    told = []
    for subject, found in zip(manifest.subjects, seen, strict=True):
        values = {aspect: str(found[aspect]) for aspect in (IS, *subject.aspects) if aspect in found}
        earlier = known.get((subject.kind, subject.name))
        brought = subject.brought
        if subject.whole:
            strange = [name for name in found.get(ENTRIES, ()) if posixpath.join(subject.name, name) not in own]
            brought = tuple(strange) if earlier is None or not earlier.values else earlier.brought
        told.append(
            subject.model_copy(update={"values": {**values, **subject.declared}, "brought": brought}),
        )
    return Manifest(subjects=tuple(told), unknown=manifest.unknown, recorded=True)


def unmentioned(manifest: Manifest, before: Manifest | None) -> tuple[Subject, ...]:
    """What an earlier manifest has that is to go, now that this one does not mention it any more."""
    if before is None:
        return ()
    names = {_place(each.kind, each.name) for each in manifest.subjects}
    over = _by_place(each for each in (*before.left, *before.subjects) if each.kind in GOING)
    return tuple(each for place, each in over.items() if place not in names)


def joined(later: Manifest | None, earlier: Manifest | None) -> Manifest | None:
    """What either of them has left, where nobody knows how much of it is there still."""
    if later is None or earlier is None:
        return later or earlier
    names = {_place(each.kind, each.name) for each in (*later.subjects, *later.left)}
    more, left = (
        [each for each in all_ if _place(each.kind, each.name) not in names]
        for all_ in (earlier.subjects, earlier.left)
    )
    return later.model_copy(update={"subjects": (*later.subjects, *more), "left": (*later.left, *left)})


def is_left(subject: Subject, found: Mapping[str, Any]) -> bool:
    """Whether a host that answered this still has it as a role that is no more wanted it."""
    if subject.kind == "unit":
        return any(found.get(aspect) == value for aspect, value in _wanted_of(subject).items())
    return bool(found.get(IS, "absent") != "absent")


def expected_gone(roles: Mapping[str, Sequence[Subject]], kept: Collection[Subject]) -> list[Expected]:
    """What is expected of what these roles left and no longer mention, where ``kept`` is what roles of the host do."""
    places = {_place(each.kind, each.name) for each in kept}
    above = {folder for each in kept if each.name.startswith("/") for folder in _folders_above(each.name)}
    going = {
        place: (role, each)
        for role, all_ in roles.items()
        for place, each in _by_place(all_).items()
        if place not in places and each.name not in above
    }
    names = {each.name for _, each in going.values()}
    return [
        Expected(
            kind=each.kind,
            name=each.name,
            secret=False,
            values=_unwanted(each),
            owners=dict.fromkeys((*_unwanted(each), ENTRIES), (role, each.owner)),
            allowed=_inside(each.name, names) if each.kind == "folder" else None,
            left=True,
        )
        for role, each in going.values()
        if _unwanted(each)
    ]


def _wanted_of(subject: Subject) -> dict[str, str]:
    """What a role wanted of a unit that it has to lose."""
    return {aspect: value for aspect, value in WANTED.items() if subject.values.get(aspect) == value}


def _unwanted(subject: Subject) -> dict[str, str]:
    if subject.kind != "unit":
        return {IS: "absent"}
    return {aspect: UNWANTED[aspect] for aspect in _wanted_of(subject)}


def _place(kind: Kind, name: str) -> tuple[str, str]:
    """What a subject is told apart by: at a path lies one thing only."""
    return ("path" if name.startswith("/") and kind != "mount" else kind, name)


def _by_place(subjects: Iterable[Subject]) -> dict[tuple[str, str], Subject]:
    """Each once: of what several tasks manage, such as one that enables a unit and one that starts it, all aspects."""
    found: dict[tuple[str, str], Subject] = {}
    for each in subjects:
        place = _place(each.kind, each.name)
        known = found.get(place)
        if known is not None and known.kind == each.kind:
            aspects = tuple(dict.fromkeys((*known.aspects, *each.aspects)))
            found[place] = each.model_copy(update={"aspects": aspects, "values": {**known.values, **each.values}})
        else:
            found[place] = each
    return found


def _folders_above(path: str) -> list[str]:
    above = posixpath.dirname(path)
    return [] if above == path else [above, *_folders_above(above)]


def expected_of(manifests: Mapping[str, Manifest]) -> list[Expected]:
    """What is expected of a host whose roles, in the order in which they are played, left these manifests."""
    found: dict[tuple[str, str], Expected] = {}
    names = {each.name for manifest in manifests.values() for each in manifest.subjects if each.kind != "absent"}
    for role, manifest in manifests.items():
        for subject in manifest.subjects:
            kind: Kind = "file" if subject.kind == "absent" else subject.kind
            before = found.get((kind, subject.name)) or found.get((_other(kind), subject.name))
            owners = dict.fromkeys(subject.values, (role, subject.owner))
            if before is not None and before.kind != kind:
                del found[before.kind, before.name]
                before = None
            found[kind, subject.name] = Expected(
                kind=kind,
                name=subject.name,
                secret=subject.secret or (before is not None and before.secret),
                values={**(before.values if before else {}), **subject.values},
                owners={
                    **(before.owners if before else {}),
                    **owners,
                    **({ENTRIES: (role, subject.owner)} if subject.whole else {}),
                },
                allowed=_allowed(subject, names) if subject.whole else before.allowed if before else None,
            )
    return list(found.values())


def _allowed(folder: Subject, names: Collection[str]) -> tuple[str, ...]:
    """Names that may lie in a folder which is owned whole: what roles put there, and what it had the first time."""
    return tuple(sorted({*_inside(folder.name, names), *folder.brought}))


def _inside(folder: str, names: Collection[str]) -> tuple[str, ...]:
    """What of these paths lies in the folder, by its name there."""
    above = folder + "/"
    return tuple(sorted({name.removeprefix(above).partition("/")[0] for name in names if name.startswith(above)}))


def _other(kind: Kind) -> Kind:
    """A path is either a file or a link."""
    return "link" if kind == "file" else "file"


def differences(
    host: str, expected: Sequence[Expected], seen: Iterable[tuple[int, Mapping[str, Any]]]
) -> tuple[Difference, ...]:
    """What differs, where the host told ``seen`` of the expectations with these numbers."""
    told = []
    over = {each.name for each in expected if each.left}
    for number, found in seen:
        each = expected[number]
        if each.left:
            told += _left(host, each, found)
            continue
        gone = found.get(IS, each.values.get(IS)) != each.values.get(IS)
        for aspect, value in found.items():
            if aspect == ENTRIES:
                paths = [posixpath.join(each.name, name) for name in value]
                strange = [path for path in paths if path not in over]
                told += [
                    _going(host, each.owners[ENTRIES], "file", path, aspect=STRANGER, seen="there") for path in strange
                ]
            elif not gone or aspect == IS:
                role, task = each.owners[aspect]
                told.append(
                    Difference(
                        host=host,
                        role=role,
                        task=task,
                        kind=each.kind,
                        name=each.name,
                        aspect=aspect,
                        expected=each.values[aspect],
                        seen=str(value),
                    )
                )
    return tuple(told)


def _left(host: str, each: Expected, found: Mapping[str, Any]) -> list[Difference]:
    """What is left over of it; a folder with anything else in it stays, and so does what is only part of a package."""
    there = [aspect for aspect, value in found.items() if value == WANTED.get(aspect)]
    if found.get(ENTRIES) or not (there or each.kind != "unit"):
        return []
    return [
        _going(
            host,
            next(iter(each.owners.values())),
            each.kind,
            each.name,
            aspect=LEFT,
            seen=" and ".join(there) or "there",
        )
    ]


def _going(host: str, owner: tuple[str, str], kind: Kind, name: str, *, aspect: str, seen: str) -> Difference:
    """Something that is there and may not be; its owner is a role and a task."""
    role, task = owner
    return Difference(
        host=host, role=role, task=task, kind=kind, name=name, aspect=aspect, expected="absent", seen=seen
    )


def _short(value: str) -> str:
    return (value if len(value) <= 24 else f"{value[:12]}…") or "nothing"
