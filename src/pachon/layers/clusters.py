"""The clusters layer of a site: what its cluster is to hold, what it holds by our doing, one attempt at the rest.

The API server is the judge: what would change is what its dry run says, and whose a field is it says too. It is asked
only of objects that are not seen to be as they were applied: one listing for each kind tells that of thousands.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from pachon.drivers.kubernetes import (
    CONNECTIONS,
    LEAVING_CURE,
    AbsentError,
    Cluster,
    Conflict,
    ConflictError,
    LeavingError,
    NoSuchKindError,
    UnsureError,
)
from pachon.errors import PachonError, PermanentError
from pachon.layers.awaited import AWAITED, waits_for
from pachon.layers.object_differences import differences, holds
from pachon.model.cluster_object import (
    DIGEST,
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
NOT_THERE = "in the definition, and not in the cluster"
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
    cure: str = ""
    """What would help where it is unknown."""


@dataclass(frozen=True)
class ClusterSight:
    """What a cluster holds, as far as it is our matter."""

    works: tuple[ObjectWork, ...] = ()
    same: tuple[str, ...] = ()
    """Addresses of what is as wanted."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """What workloads that are as wanted still wait for, by address."""
    leaving: Mapping[str, str] = field(default_factory=dict)
    """What is in no manifest any more and on its way out already: what holds it, by address."""
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
        going = {key: body for key, body in owned.items() if key not in keys}
        works += [self._removal(key, body) for key, body in going.items() if not _leaving(body)]
        same = [each for each in wanted if told.get(each.key) is None]
        waits = {self.address(each.key): self._waits(each, owned) for each in same if each.kind in AWAITED}
        return ClusterSight(
            works=tuple(sorted(works, key=lambda work: work.address)),
            same=tuple(self.address(each.key) for each in same),
            waiting={address: said for address, said in sorted(waits.items()) if said},
            leaving={self.address(key): said for key, body in sorted(going.items()) if (said := _leaving(body))},
        )

    def _waits(self, each: ClusterObject, owned: Mapping[Key, Body]) -> str:
        """What a workload waits for; one that a controller has made its own is not in the list."""
        seen = owned.get(each.key) or self.cluster.read(KINDS[each.kind], each.namespace, each.name)
        return waits_for(seen) if seen is not None else "somebody has removed it"

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
        if seen is not None and (said := _leaving(seen)):
            return self._work(wanted, "create", f"once it is gone, since it {said}")
        conflicts: tuple[Conflict, ...] = ()
        try:
            try:
                after = self.cluster.preview(wanted)
            except ConflictError as error:
                conflicts = error.conflicts
                after = self.cluster.preview(wanted, force=True)
        except PachonError as error:
            return self._refused(wanted, error)
        if seen is None:
            # What is there already has a version: it is not one of ours, or not only.
            found = after["metadata"].get("resourceVersion")
            seen = self.cluster.read(KINDS[wanted.kind], wanted.namespace, wanted.name) if found else None
            if seen is None:
                return self._work(wanted, "create", NOT_THERE)
            if _leaving(seen) or _owner(seen) not in ("", self.owner):
                return self._not_ours(wanted, seen)
        return self._change(wanted, seen, after, conflicts)

    def _refused(self, wanted: ClusterObject, error: PachonError) -> ObjectWork:
        """What comes of an object that the API server does not take, or not yet."""
        match error:
            case LeavingError():
                return self._work(
                    wanted, "create", f"once its namespace, which is being removed, is gone: {error.message}"
                )
            case UnsureError() | NoSuchKindError():
                return self._unknown(wanted, f"the API server cannot take it: {error.message}", error.cure)
            case AbsentError():  # its namespace is yet to be made
                return self._work(wanted, "create", NOT_THERE)
            case PermanentError():
                return self._unknown(wanted, f"the API server does not take it: {error.message}")
            case _:
                raise error

    def _not_ours(self, wanted: ClusterObject, seen: Body) -> ObjectWork:
        if said := _leaving(seen):
            return self._work(wanted, "create", f"once it is gone, since it {said}")
        cure = f"give one of the two another name, or take its label {OWNER} off where it is nobody's any more"
        return self._unknown(wanted, f"it belongs to {_owner(seen)}", cure)

    def _change(
        self, wanted: ClusterObject, seen: Body, after: Body, conflicts: tuple[Conflict, ...]
    ) -> ObjectWork | None:
        """What applying it would change of what is there."""
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

    def _unknown(self, wanted: ClusterObject, reason: str, cure: str = "") -> ObjectWork:
        return replace(self._work(wanted, "unknown", reason), cure=cure)

    def _removal(self, key: Key, body: Body) -> ObjectWork:
        reason = "it is ours, and no manifest has it any more"
        return ObjectWork(key, self.address(key), "delete", reason, str(body["metadata"]["uid"]))


def _applied(body: Body) -> str:
    """Digest of what we applied last."""
    return str((body["metadata"].get("annotations") or {}).get(DIGEST, ""))


def _owner(body: Body) -> str:
    """Whose it says that it is."""
    return str((body["metadata"].get("labels") or {}).get(OWNER, ""))


def _leaving(body: Body) -> str:
    """That an object is on its way out, and what holds it; empty if it is to stay."""
    if not body["metadata"].get("deletionTimestamp"):
        return ""
    held = (*(body["metadata"].get("finalizers") or ()), *((body.get("spec") or {}).get("finalizers") or ()))
    return "is being removed" + (f", held by {', '.join(map(str, held))}" if held else "")


def _is_as_applied(wanted: ClusterObject, seen: Body | None) -> bool:
    if seen is None or _leaving(seen):
        return False
    return _applied(seen) == wanted.digest and holds(wanted.body, seen)


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
                body = cluster.apply(work.wanted, force=work.address in forced)
                if said := _leaving(body):
                    raise LeavingError(f"it {said}", cure=LEAVING_CURE)
                applied[work.address] = body
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
