"""The clusters layer of a site: what its cluster is to hold, what it holds by our doing, one attempt at the rest.

The API server is the judge: what would change is what its dry run says, and whose a field is it says too. It is asked
only of objects that are not seen to be as they were applied: one listing for each kind tells that of thousands.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pachon.drivers.kubernetes import CONNECTIONS, AbsentError, Cluster, Conflict, ConflictError
from pachon.errors import PachonError, PermanentError
from pachon.layers.awaited import AWAITED, waits_for
from pachon.layers.object_differences import differences, holds
from pachon.model.cluster_object import (
    DIGEST,
    FIELD_MANAGER,
    KINDS,
    OWNER,
    Body,
    ClusterObject,
    ObjectKind,
    address_of,
)
from pachon.model.stamp import digest
from pachon.plan.document import Difference

STAGE = "clusters"
Key = tuple[str, str, str]
"""Kind, namespace, name."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ObjectWork:
    """What is to be done about an object."""

    key: Key
    address: str
    verb: Literal["create", "update", "delete", "unknown"]
    """``unknown``: the API server does not take it, and says why."""
    reason: str
    """For people."""
    given: str
    """Digest of what is applied; of a delete, which object it is."""
    wanted: ClusterObject | None = None
    """None: it is to be gone."""
    differences: tuple[Difference, ...] = ()
    """As the API server's dry run says."""
    conflicts: tuple[Conflict, ...] = ()
    """Whose fields have to be taken for it."""


@dataclass(frozen=True)
class ClusterSight:
    """What a cluster holds, as far as it is our matter."""

    works: tuple[ObjectWork, ...] = ()
    same: tuple[str, ...] = ()
    """Addresses of what is as wanted."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """What workloads that are as wanted still wait for, by address."""
    away: str = ""
    """Why the cluster could not be asked."""

    @property
    def is_done(self) -> bool:
        """Whether all is as wanted and nothing is waited for."""
        return not self.away and not self.works and not self.waiting

    @property
    def condition(self) -> str:
        """The same for as long as it is so: what a plan relies on."""
        if self.away:
            return "could not be asked"
        told = [
            [work.address, work.verb, work.given, [each.model_dump() for each in work.differences]]
            for work in self.works
        ]
        return digest([sorted(self.same), sorted(told, key=str)])


@dataclass(frozen=True)
class Looking:
    """Looks at a cluster; changes nothing."""

    site: str
    owner: str
    """Value of the label by which what is ours is found."""
    cluster: Cluster

    def look(self, wanted: Sequence[ClusterObject]) -> ClusterSight:
        """What is to be done for the cluster to hold this, and of ours nothing else.

        Raises:
            TemporaryError: the API server does not answer.
            PermanentError: it refuses.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            owned = self._owned(pool)
            asked = [each for each in wanted if not _is_as_applied(each, owned.get(each.key))]
            told = dict(
                zip(
                    (each.key for each in asked),
                    pool.map(lambda each: self._judged(each, owned.get(each.key)), asked),
                    strict=True,
                )
            )
        works = [work for work in told.values() if work is not None]
        keys = {each.key for each in wanted}
        works += [self._removal(key, body) for key, body in owned.items() if key not in keys]
        same = [each for each in wanted if told.get(each.key) is None]
        waits = {self.address(each.key): waits_for(owned[each.key]) for each in same if each.kind in AWAITED}
        return ClusterSight(
            works=tuple(sorted(works, key=lambda work: work.address)),
            same=tuple(self.address(each.key) for each in same),
            waiting={address: said for address, said in sorted(waits.items()) if said},
        )

    def _owned(self, pool: ThreadPoolExecutor) -> dict[Key, Body]:
        """All that is ours in the cluster; what its controllers made of it is theirs."""

        def listed(kind: ObjectKind) -> list[Body]:
            try:
                return self.cluster.listed(kind, labels=f"{OWNER}={self.owner}")
            except AbsentError:
                return []  # an existing cluster of another version

        found: dict[Key, Body] = {}
        for kind, bodies in zip(KINDS.values(), pool.map(listed, KINDS.values()), strict=True):
            for body in bodies:
                metadata = body["metadata"]
                if not metadata.get("ownerReferences"):
                    found[kind.kind, metadata.get("namespace", ""), metadata["name"]] = body
        return found

    def address(self, key: Key) -> str:
        """What plans call it."""
        return address_of(self.site, *key)

    def _judged(self, wanted: ClusterObject, seen: Body | None) -> ObjectWork | None:
        """What the API server says that applying it would do; None if nothing."""
        conflicts: tuple[Conflict, ...] = ()
        try:
            try:
                after = self.cluster.preview(wanted)
            except ConflictError as error:
                conflicts = error.conflicts
                after = self.cluster.preview(wanted, force=True)
            if seen is None and _others(after):
                seen = self.cluster.read(KINDS[wanted.kind], wanted.namespace, wanted.name)
        except AbsentError:  # its namespace is yet to be made
            return self._work(wanted, "create", "in the definition, and not in the cluster")
        except PermanentError as error:
            return self._work(wanted, "unknown", f"the API server does not take it: {error.message}")
        if seen is None:
            return self._work(wanted, "create", "in the definition, and not in the cluster")
        found = differences(seen, after)
        if not found and _applied(seen) == wanted.digest:
            return None  # the same in other words, such as 1000m for 1
        reason = "its manifest changed" if _applied(seen) != wanted.digest else "it was changed in the cluster"
        if not _applied(seen):
            reason = "somebody else made it, and it becomes ours"
        if conflicts:
            reason += "; fields would be taken: " + "; ".join(map(str, conflicts))
        return self._work(wanted, "update", reason, found, conflicts)

    def _work(
        self,
        wanted: ClusterObject,
        verb: Literal["create", "update", "unknown"],
        reason: str,
        found: tuple[Difference, ...] = (),
        conflicts: tuple[Conflict, ...] = (),
    ) -> ObjectWork:
        address = self.address(wanted.key)
        return ObjectWork(wanted.key, address, verb, reason, wanted.digest, wanted, found, conflicts)

    def _removal(self, key: Key, body: Body) -> ObjectWork:
        reason = "it is ours, and no manifest has it any more"
        return ObjectWork(key, self.address(key), "delete", reason, str(body["metadata"]["uid"]))


def _applied(body: Body) -> str:
    """Digest of what we applied last."""
    return str((body["metadata"].get("annotations") or {}).get(DIGEST, ""))


def _others(body: Body) -> bool:
    """Whether somebody else has had to do with an object."""
    return any(each.get("manager") != FIELD_MANAGER for each in body["metadata"].get("managedFields") or ())


def _is_as_applied(wanted: ClusterObject, seen: Body | None) -> bool:
    return seen is not None and _applied(seen) == wanted.digest and holds(wanted.body, seen)


@dataclass(frozen=True)
class Granted:
    """What a plan lets be done in a cluster."""

    given: Mapping[str, str]
    """Digest of what may be applied, by address."""
    removed: Mapping[str, str] = field(default_factory=dict)
    """Which object may be removed, by address."""
    forced: Collection[str] = ()
    """Addresses at which fields may be taken from others."""

    def refuses(self, work: ObjectWork) -> str:
        """Why a plan does not hold this; empty if it does."""
        known = self.removed if work.verb == "delete" else self.given
        if known.get(work.address) != work.given:
            return f"it would be {'removed' if work.verb == 'delete' else 'applied'}, which the plan does not hold"
        if work.conflicts and work.address not in self.forced:
            return f"fields belong to others: {'; '.join(map(str, work.conflicts))}"
        return ""


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt at each object."""

    applied: Mapping[str, Body]
    """By address, as it is now; what was removed is not here."""
    removed: tuple[str, ...]
    failed: Mapping[str, PachonError]


def attempt(
    cluster: Cluster, works: Iterable[ObjectWork], *, forced: Collection[str], told: Callable[[ObjectWork, str], None]
) -> Attempt:
    """One attempt at these: what others need comes first, and goes last. What fails does not keep back the others."""
    applied: dict[str, Body] = {}
    removed: list[str] = []
    failed: dict[str, PachonError] = {}

    def one(work: ObjectWork) -> None:
        kind, namespace, name = work.key
        try:
            if work.wanted is None:
                cluster.delete(KINDS[kind], namespace, name, uid=work.given)
                removed.append(work.address)
            else:
                applied[work.address] = cluster.apply(work.wanted, force=work.address in forced)
            told(work, "")
        except PachonError as error:
            failed[work.address] = error
            told(work, error.message)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for turn in _turns(works):
            list(pool.map(one, turn))
    return Attempt(applied, tuple(removed), failed)


def _turns(works: Iterable[ObjectWork]) -> list[list[ObjectWork]]:
    """What may be done side by side, one after another."""
    turns: dict[tuple[bool, int], list[ObjectWork]] = {}
    for work in works:
        turn = KINDS[work.key[0]].turn
        place = (True, -turn) if work.wanted is None else (False, turn)
        turns.setdefault(place, []).append(work)
    return [turns[place] for place in sorted(turns)]
