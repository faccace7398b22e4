"""Follows a run of plays of the hosts layer: events as tasks change things, receipts and manifests at the end."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pachon.drivers import ansible
from pachon.drivers.ansible import Effects, Ended, Line, PlayBegan, Result, Verdict
from pachon.errors import PachonError, RefusedError
from pachon.layers.sight import MANIFEST
from pachon.model.facility import HostName
from pachon.model.manifest import Difference, Manifest
from pachon.progress import Event
from pachon.store.lease import Lease
from pachon.store.receipts import prove

if TYPE_CHECKING:
    from pachon.layers.hosts import SiteHosts

STAGE = "hosts"
BAD = ("failed", "unreachable")
NO_TASK = Verdict(state="ok", changed=0, task="", message="")


@dataclass(frozen=True)
class RoleWork:
    """A role that is to be played on a host."""

    host: HostName
    role: str
    address: str
    verb: Literal["create", "delete", "update"]
    """``create``: no play of it on this host ever ended well; ``delete``: the host does not have it any more."""
    reason: str
    """For people."""
    digest: str
    """Of all that decides what it leaves: what a receipt of it will hold."""
    given: str
    """Digest of what it is played with, its text and its arguments: what a plan of it holds."""
    settle: bool
    """Whether handlers have to run though no task changes anything: an earlier play left them, or they mend."""
    whole: bool = False
    """Whether what the image brought has to be played too."""
    drift: tuple[Difference, ...] = ()
    """What was seen on the host not to be as the role left it."""
    renewed: bool = False
    """Whether it would be played without any drift too."""
    before: Manifest | None = None
    """What earlier plays left."""

    @property
    def is_taken_up(self) -> bool:
        """Whether a play of it was killed: since then nothing of it was expected, so nothing was seen to differ."""
        return self.settle and not self.drift and self.before is not None


@dataclass(frozen=True)
class Trouble:
    """Why a host is not as its roles say."""

    address: str
    error: str
    cure: str


class Playing:
    """Follows one run of plays: events as tasks end, receipts of a host once all that is to be played there was.

    So a run that is killed then plays again only what hosts were still to be played. What a host has is read once,
    after the last of its roles, since a later one may change what an earlier one left; meanwhile the others are played.
    """

    def __init__(self, layer: "SiteHosts", lease: Lease, todo: Mapping[HostName, Sequence[RoleWork]]) -> None:
        self._layer = layer
        self._lease = lease
        self._todo = todo
        self._left = {name: {work.role: work for work in works} for name, works in todo.items()}
        self._changed = dict.fromkeys(todo, 0)
        self._trouble: dict[HostName, str] = {}
        self._failed = 0
        self._unmended: set[HostName] = set()
        self._good: dict[HostName, dict[str, RoleWork]] = {}
        self._effects: dict[tuple[HostName, str], Effects] = {}
        self._proving: asyncio.Task[None] | None = None
        """Puts down receipts of hosts that are through, while others are still played."""
        self.left_over: list[RoleWork] = []
        """Roles of which more may lie there than they mention: of earlier plays, or of before one was killed."""
        self.hosts_of_play: dict[str, tuple[HostName, ...]] = {}

    def left(self) -> dict[HostName, list[RoleWork]]:
        """What is yet to be played on hosts that have not failed."""
        return {name: list(works.values()) for name, works in self._left.items() if works and name not in self._trouble}

    def failed_since(self) -> bool:
        """Whether hosts have failed since this was last asked."""
        before, self._failed = self._failed, len(self._trouble)
        return self._failed > before

    async def run(self, lane: int) -> str:
        """Ansible's last words, once all was played that can be.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        said, left = "", self.left()
        try:
            while left:
                try:
                    book = self._layer.playbook(left, lane)
                    self.hosts_of_play = {part.name: part.hosts for part in book.parts}
                    said = await ansible.play(book, run_id=self._lease.run_id, on_line=self.hear)
                except RefusedError:
                    raise
                except PachonError as error:
                    said = str(error)
                await self.prove()
                # Ansible ends all plays when all hosts of one have failed: the others' roles are yet to be played.
                left = self.left() if self.failed_since() else {}
        finally:
            if self._proving is not None:
                self._proving.cancel()
                await asyncio.gather(self._proving, return_exceptions=True)
        return said

    def hear(self, line: Line) -> None:
        """Take in a line of the callback."""
        match line:
            case PlayBegan(play=play):
                for name in self.hosts_of_play.get(play, ()):
                    if name not in self._trouble:
                        self._tell(name, self._role(play))
            case Result(state="changed"):
                what = "handler " if line.handler else ""
                self._tell(line.host, f"{self._role(line.play)}: {what}{_bare(line.task)}: changed")
            case Result():
                pass  # told with the verdict
            case Effects():
                self._effects[line.host, self._role(line.play)] = line
            case Ended(play=play, verdicts=verdicts):
                self._end(play, verdicts)

    @staticmethod
    def _role(play: str) -> str:
        return play.split(" ", 1)[0]

    def _tell(self, name: HostName, message: str) -> None:
        done = 1 - len(self._left[name]) / max(1, len(self._todo[name]))
        self._layer.progress(Event(STAGE, self._layer.address(name), "moving", message, fraction=round(done, 2)))

    def _end(self, play: str, verdicts: Mapping[str, Verdict]) -> None:
        role = self._role(play)
        for name in self.hosts_of_play.get(play, ()):
            work, verdict = self._left[name].get(role), verdicts.get(name, NO_TASK)
            if work is None or name in self._trouble:
                continue
            if verdict.state in BAD:
                self._trouble[name] = f"role {role}: {_bare(verdict.task)}: {verdict.message}"
                self._layer.progress(Event(STAGE, self._layer.address(name), "failed", self._trouble[name]))
                continue
            self._good.setdefault(name, {})[role] = work
            self._changed[name] += verdict.changed
            self._layer.played[work.address] = work.verb
            del self._left[name][role]
        if self._through() and (self._proving is None or self._proving.done()):
            self._proving = asyncio.create_task(self._prove_through(self._proving))

    def _through(self) -> set[HostName]:
        """Hosts on which all was played well, and of which nothing was put down yet."""
        return {name for name in self._good if not self._left[name]}

    async def _prove_through(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        while names := self._through():
            await self._put_down({name: self._good.pop(name) for name in names})

    async def prove(self) -> None:
        """Put down receipts of what was played well and has none yet, with what hosts have of it now."""
        if self._proving is not None:
            await self._proving
        good, self._good = self._good, {}
        if good:
            await self._put_down(good)

    async def _put_down(self, good: Mapping[HostName, Mapping[str, RoleWork]]) -> None:
        manifests, unmended = await self._layer.manifests(good, self._effects)
        documents = {address: document_of(manifest) for address, manifest in manifests.items()}
        played_well = [work for works in good.values() for work in works.values()]
        self.left_over += [
            work
            for work in played_well
            if manifests[work.address].recorded and (manifests[work.address].left or work.is_taken_up)
        ]
        digests = {work.address: work.digest for work in played_well}
        await asyncio.to_thread(prove, self._layer.store, self._lease, digests, documents=documents)
        played = {(name, role) for name, works in good.items() for role in works}
        self._layer.sight = self._layer.sight.played(played, unmended=unmended)
        for each in unmended:
            if each.host not in self._trouble:
                self._trouble[each.host] = f"role {each.role} was played and has not put right: {each.said}"
                self._unmended.add(each.host)

    def finish(self, said: str) -> list[Trouble]:
        """What failed."""
        failed = []
        for name, works in self._todo.items():
            address = self._layer.address(name)
            if not self._left[name] and name not in self._unmended:
                number = self._changed[name]
                changed = (
                    f"{number} task{'s' if number != 1 else ''} changed something" if number else "nothing to change"
                )
                self._layer.progress(Event(STAGE, address, "done", f"{len(works)} roles: {changed}"))
                continue
            why = self._trouble.get(name)
            if why is None:
                why = f"{', '.join(self._left[name])} not played: {said or 'ansible-playbook ended before'}"
                self._layer.progress(Event(STAGE, address, "failed", why))
            cure = f"mend what is named, then 'pachon up'; plays and settings are in {self._layer.state / 'ansible'}"
            if name in self._unmended:
                self._layer.progress(Event(STAGE, address, "failed", why))
                cure = "mend it by hand, or have its owner take it: 'pachon drift accept --help'"
            failed.append(Trouble(address=address, error=why, cure=cure))
        return failed


def _bare(task: str) -> str:
    """Name of a task without its role's."""
    return task.partition(" : ")[2] or task


def document_of(manifest: Manifest) -> dict[str, object]:
    """What a receipt keeps of it."""
    return {MANIFEST: manifest.model_dump(mode="json", exclude_defaults=True)}
