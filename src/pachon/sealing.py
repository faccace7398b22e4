"""The plan of a run: made by it, or approved before and then held to. And where plans are kept.

A plan that was begun and killed is taken up again: what is left is planned anew and has to stay inside it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pachon.drivers.pulumi import PlannedAction
from pachon.ground import Images
from pachon.layers.bounds import Bound
from pachon.layers.clusters import Granted
from pachon.layers.policies import node_address
from pachon.model.facility import Facility, HostName
from pachon.model.hardware import StackName
from pachon.plan.bounds import deferred_in, objects_of, refuse_outside, removals_in, roles_of
from pachon.plan.document import Plan, Verb, text_of_file
from pachon.plan.making import Basis, definition_of, plan_of
from pachon.plan.moving import moved, refuse_moved
from pachon.planning import Seen, ask, basis_of, facts, findings, parent
from pachon.progress import Progress

KEPT = 50
"""Plans that stay in the state folder."""


def refuse_other_definition(plan: Plan, facility: Facility) -> None:
    """Nothing, if the plan was made from this definition; asked before anything is touched.

    Raises:
        RefusedError: it was not; names the part that moved.
    """
    now = Basis(definition=definition_of(facility), code=plan.code)
    refuse_moved(moved(plan, now, {}, ()))


async def settle(
    facility: Facility,
    seen: Sequence[Seen],
    *,
    code: str,
    images: Mapping[str, Images],
    approved: Plan | None,
    state: Path,
    progress: Progress,
) -> tuple[Plan, list[Seen]]:
    """The plan that holds for this run, and each site with the actions that it may take.

    Raises:
        RefusedError: what the approved plan relies on has moved, or it was begun and what is left is outside of it.
        PachonError: an engine fails.
    """
    basis = await asyncio.to_thread(basis_of, facility, code, images)
    if approved is not None and not _was_begun(approved, seen, state):
        known = [fact for each in seen for fact in facts(each)]
        parents = {each.site.name: parent(each) for each in seen}
        refuse_moved(moved(approved, basis, parents, known, given=_given(seen)))
        _grant(seen, approved)
        return approved, [_held(each, approved) for each in seen]
    if approved is not None:
        refuse_moved(moved(approved, basis, {}, ()))
    asked = await asyncio.gather(*(ask(each, progress=progress) for each in seen))
    seal = "" if approved is None else approved.seal
    plan = plan_of(facility, [findings(each) for each in asked], basis, child_of=seal)
    if approved is not None:
        refuse_outside(plan, approved, kept=str(keep(plan, state)))
        _bind(asked, approved)
    _grant(asked, plan)
    return plan, list(asked)


def keep(plan: Plan, state: Path) -> Path:
    """The file that now holds the plan; the oldest ones go."""
    folder = state / "plans"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{plan.seal[:16]}.json"
    path.write_text(text_of_file(plan))
    for old in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def begin(plan: Plan, runs: Iterable[str], state: Path) -> None:
    """Remember that these runs carry the plan out, so that it can be taken up after a kill."""
    keep(plan, state)
    with _runs_file(plan, state).open("a") as file:
        file.writelines(f"{run}\n" for run in runs)


def _runs_file(plan: Plan, state: Path) -> Path:
    return state / "plans" / f"{plan.seal[:16]}.runs"


def _was_begun(plan: Plan, seen: Sequence[Seen], state: Path) -> bool:
    """Whether all that has changed since the plan was made was changed by carrying it out."""
    try:
        begun = set(_runs_file(plan, state).read_text().split())
    except FileNotFoundError:
        return False
    newest = {each.site.name: parent(each) for each in seen}
    touched = {site: run for site, run in newest.items() if run != plan.parents.get(site, "")}
    return bool(touched) and set(touched.values()) <= begun


def _given(seen: Iterable[Seen]) -> dict[str, str]:
    """What pending roles would be played with, by address."""
    works = (work for each in seen for pending in each.look.pending.values() for work in pending)
    return {work.address: work.given for work in works}


def _bind(seen: Iterable[Seen], plan: Plan) -> None:
    """Let nothing be played on hosts, or taken away there, but what the plan holds."""
    bound = Bound(given=roles_of(plan), removals=removals_in(plan), deferred=deferred_in(plan).keys())
    for each in seen:
        if each.hosts is not None:
            each.hosts.bound = bound


def _grant(seen: Iterable[Seen], plan: Plan) -> None:
    """Let nothing be done in clusters but what the plan holds."""
    for each in seen:
        if each.cluster is not None:
            each.cluster.granted = Granted(*objects_of(plan, each.site.name))


def _held(seen: Seen, plan: Plan) -> Seen:
    """The site with exactly the actions of the plan."""
    own = [action for action in plan.actions if action.site == seen.site.name and action.layer == "hardware"]
    doomed = {(action.address, action.after) for action in own if action.stack == "leftover"}
    orphans = [each for each in seen.look.orphans if (each.stamp.address, each.stamp.generation) in doomed]
    kinds = {each.address: each.kind.value for resources in seen.hardware.resources.values() for each in resources}
    planned: dict[StackName, list[PlannedAction]] = {
        name: [
            PlannedAction(
                address=action.address,
                kind=kinds.get(action.address, ""),
                verb=action.verb,
                reason=action.reason,
                generation=action.after,
                previous_generation=action.before,
            )
            for action in own
            if action.stack == name
        ]
        for name in seen.look.todo
    }
    _bind([seen], plan)
    found = replace(
        seen.look,
        orphans=orphans,
        workers=_planned_nodes(seen, plan, seen.look.workers, "delete"),
        returning=_planned_nodes(seen, plan, seen.look.returning, "update"),
    )
    return replace(seen, look=found, planned=planned)


def _planned_nodes(seen: Seen, plan: Plan, names: Iterable[HostName], verb: Verb) -> tuple[HostName, ...]:
    """Those of these workers that the plan has that for."""
    nodes = {action.address for action in plan.actions if action.layer == "policies" and action.verb == verb}
    return tuple(name for name in names if node_address(seen.site.name, name) in nodes)
