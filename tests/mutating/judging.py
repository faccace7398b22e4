"""Holds what the probe saw of mutations against what a check of Ansible saw, and says why only one of them did."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pachon.model.manifest import Difference
from tests.mutating.checking import Found
from tests.mutating.drawing import Mutation

BOTH, PROBE, ANSIBLE, NONE = "both", "probe only", "Ansible only", "none"

Reason = tuple[str, Callable[[Mutation], bool]]


@dataclass(frozen=True)
class Verdict:
    """Who saw a mutation."""

    mutation: Mutation
    seen_by: str
    why: str
    """Why not by both; empty where nobody can say."""

    @property
    def is_honest(self) -> bool:
        """Whether it is as it must be: seen by both, or by the probe alone or nobody for a reason that is known."""
        return self.seen_by == BOTH or (self.seen_by != ANSIBLE and bool(self.why))


@dataclass(frozen=True)
class Known:
    """What is known of tasks without any host."""

    unchecked: frozenset[tuple[str, str]]
    """Role and task of what commands and handlers bring about: a check compares nothing there."""
    contentless: frozenset[tuple[str, str]]
    """Host and path of files that are written once and are then their owner's: nobody decides their content."""
    whole: frozenset[tuple[str, str]]
    """Host and path of folders that a role owns whole: in others anybody may have files."""


def verdicts(
    mutations: Iterable[Mutation],
    seen: Mapping[str, Sequence[Difference]],
    found: Sequence[Found],
    known: Known,
) -> list[Verdict]:
    """Of each mutation of a batch."""
    told = []
    for each in mutations:
        probe = any(each.touches(difference.name) for difference in seen.get(each.host, ()))
        ansible = any(_is_of(finding, each) for finding in found)
        seen_by = {(True, True): BOTH, (True, False): PROBE, (False, True): ANSIBLE, (False, False): NONE}
        said = seen_by[probe, ansible]
        told.append(Verdict(each, said, "" if said == BOTH else _why(each, said, known)))
    return told


def missed(
    mutations: Sequence[Mutation], seen: Mapping[str, Sequence[Difference]], found: Sequence[Found]
) -> list[Found]:
    """What Ansible would change that is neither a mutation's nor has the probe seen it: what follows from mutations."""
    return [
        each
        for each in found
        if not any(_is_of(each, mutation) for mutation in mutations)
        and not any(
            difference.name in each.places or (difference.role, difference.task) == (each.role, each.task)
            for difference in seen.get(each.host, ())
        )
    ]


def _is_of(finding: Found, mutation: Mutation) -> bool:
    if finding.host != mutation.host:
        return False
    if any(mutation.touches(place) for place in finding.places):
        return True
    # A task of several items tells which of them; one that copies a folder tells where to.
    inside = not finding.places or any(mutation.name.startswith(f"{place}/") for place in finding.places)
    own = (finding.role, finding.task) == (mutation.role, mutation.task)
    return own and (inside or not mutation.name.startswith("/"))


def _why(each: Mutation, seen_by: str, known: Known) -> str:
    reasons: dict[str, list[Reason]] = {
        PROBE: [
            (
                "a command or a handler brings it about: a check compares nothing there",
                lambda one: (one.role, one.task) in known.unchecked,
            ),
            ("no task says what else may lie in a folder", lambda one: one.how == "stranger"),
            ("tasks take a link to a folder for the folder", lambda one: one.kind == "folder" and one.how == "link"),
            ("no task says who is in a group", lambda one: one.how in ("member", "members")),
        ],
        NONE: [
            ("nothing was changed that a role decides", lambda one: one.sort == "nothing"),
            (
                "the file is its owner's once it is there",
                lambda one: one.kind == "file" and (one.host, one.name) in known.contentless,
            ),
            ("a link is whose it is: nobody looks at that", lambda one: one.kind == "link" and one.sort == "owners"),
            (
                "the folder is not its role's alone",
                lambda one: one.how == "stranger" and (one.host, one.name) not in known.whole,
            ),
            (
                "a folder in which no role has anything looks the same when something is mounted over it",
                lambda one: one.how == "cover" and one.kind == "folder" and (one.host, one.name) not in known.whole,
            ),
        ],
    }
    return next((why for why, holds in reasons.get(seen_by, []) if holds(each)), "")


def table(told: Sequence[Verdict]) -> list[str]:
    """How many of each sort were seen by whom, and why not by both."""
    sorts = sorted({each.mutation.sort for each in told})
    columns = (BOTH, PROBE, ANSIBLE, NONE)
    counted = Counter((each.mutation.sort, each.seen_by) for each in told)
    lines = [f"{'mutations of':16}" + "".join(f"{name:>14}" for name in ("all", *columns))]
    for sort in (*sorts, "all"):
        numbers = [
            sum(number for (its, seen_by), number in counted.items() if sort in (its, "all") and seen_by == column)
            for column in columns
        ]
        lines.append(f"{sort:16}" + "".join(f"{number:14}" for number in (sum(numbers), *numbers)))
    reasons = Counter((each.seen_by, each.why or "NOBODY CAN SAY WHY") for each in told if each.seen_by != BOTH)
    lines += [f"seen by {seen_by}: {number:4} {why}" for (seen_by, why), number in sorted(reasons.items())]
    return lines
