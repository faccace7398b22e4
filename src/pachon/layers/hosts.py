"""The hosts layer of a site: roles on hosts, played where their receipt does not prove that nothing has changed.

A receipt of a role on a host is the digest of all that decides what the role leaves there: its text, its arguments,
its secrets, and which installation of the host it was. An intent is put in its place before the play; so a role that
a killed run was at has no receipt, is played again, and is told to run its handlers ("settle").
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pachon import hostvars, inventory, secrets
from pachon.drivers import ansible
from pachon.drivers.ansible import Ended, Line, Part, PlayBegan, Playbook, Result, Verdict
from pachon.errors import PachonError, RefusedError
from pachon.hostvars.registry import DAYS_PROVEN
from pachon.layers.role_trees import has_host_part, has_image_part, role_trees
from pachon.model.facility import Facility, Host, HostName, Site
from pachon.model.stamp import digest
from pachon.progress import Event, Progress, silent
from pachon.store.database import Store
from pachon.store.lease import Lease
from pachon.store.receipts import Receipt, drop_receipts, intend, prove, receipts_under

STAGE = "hosts"
BAD = ("failed", "unreachable")
SETTLE = "settle"
"""Tag of the tasks that have handlers run which an interrupted play left; each is a task less where none did."""


NO_TASK = Verdict(state="ok", changed=0, task="", message="")


@dataclass(frozen=True)
class RoleWork:
    """A role that is to be played on a host."""

    host: HostName
    role: str
    address: str
    verb: Literal["create", "update"]
    """``create``: no play of it on this host ever ended well."""
    reason: str
    """For people."""
    digest: str
    settle: bool
    """Whether an earlier play may have left handlers to be run."""


@dataclass(frozen=True)
class Trouble:
    """Why a host is not as its roles say."""

    address: str
    error: str
    cure: str


@dataclass
class SiteHosts:
    """The roles of one site's hosts, with the store that remembers."""

    facility: Facility
    site: Site
    state: Path
    store: Store
    generations: Mapping[HostName, str]
    """What the definition makes each host from."""
    baked: Mapping[str, Collection[str]]
    """Roles whose image part is in the image, by flavour."""
    lease: Lease | None = None
    """Without one it can only say what would be played."""
    progress: Progress = silent
    played: dict[str, Literal["create", "update"]] = field(default_factory=dict)
    """Verb of each role that was played well, by address."""
    bound: frozenset[str] | None = None
    """Addresses of the roles that an approved plan holds; None: whatever is pending."""
    refused: set[str] = field(default_factory=set)
    """Hosts that would have needed more than that."""

    def address(self, host: HostName) -> str:
        """Address of a host."""
        return f"{self.site.name}/host/{host}"

    def roles_of(self, host: Host) -> tuple[str, ...]:
        """Roles of a host that live hosts are played."""
        there = role_trees()
        return tuple(role for role in hostvars.roles_of(host) if role in there and self._has_tasks(host, role))

    def _has_tasks(self, host: Host, role: str) -> bool:
        return has_host_part(role) or not (self._is_baked(host, role) and has_image_part(role))

    def _is_baked(self, host: Host, role: str) -> bool:
        """Whether the host's image holds the role's image part as it is now: another image makes another host."""
        return role in self.baked.get(host.flavour, ())

    def pending(self, only: Collection[HostName] | None = None) -> dict[HostName, list[RoleWork]]:
        """What is to be played (on those hosts), in the definition's order; hosts with nothing to do are left out."""
        kept = self._kept()
        told = {
            host.name: [work for role in self.roles_of(host) if (work := self._work(host, role, kept)) is not None]
            for host in self.site.active_hosts
            if only is None or host.name in only
        }
        return {name: works for name, works in told.items() if works}

    def _kept(self) -> "_Kept":
        from infra.boot import ca

        return _Kept(
            receipts=receipts_under(self.store, f"{self.site.name}/host/"),
            installations=ca.host_keys(self.state, self.site.name),
            secrets=self._digests_of_secrets(),
        )

    def _digests_of_secrets(self) -> dict[str, str]:
        """Keyed digest of each secret that hosts of the site read; of one that is yet to be made, none."""
        names = sorted(self._secrets())
        there = [name for name in names if secrets.path_of(self.state, name).exists()]
        return {**dict.fromkeys(names, ""), **(secrets.digests(self.state, there) if there else {})}

    def _secrets(self) -> hostvars.Secrets:
        return {
            name: size
            for host in self.site.active_hosts
            for role in self.roles_of(host)
            for name, size in hostvars.secrets_of(self.facility, host, role).items()
        }

    def count(self) -> tuple[int, int]:
        """Number of roles and of hosts."""
        return sum(len(self.roles_of(host)) for host in self.site.active_hosts), len(self.site.active_hosts)

    def has_played(self, host: HostName) -> bool:
        """Whether any role was played well on the host."""
        return any(address.startswith(f"{self.address(host)}/role/") for address in self.played)

    def _work(self, host: Host, role: str, kept: "_Kept") -> RoleWork | None:
        address = f"{self.address(host.name)}/role/{role}"
        wanted, receipt = self._digest(host, role, kept), kept.receipts.get(address)
        reason = _reason(role, wanted, receipt)
        if not reason:
            return None
        return RoleWork(
            host=host.name,
            role=role,
            address=address,
            verb="create" if receipt is None else "update",
            reason=reason,
            digest=wanted,
            settle=receipt is not None and receipt.is_intent,
        )

    def _digest(self, host: Host, role: str, kept: "_Kept") -> str:
        """Digest of all that decides what the role leaves on the host."""
        return digest(
            {
                "role": role_trees()[role],
                "arguments": hostvars.of_role(self.facility, host, role),
                "host": self.generations.get(host.name, ""),
                "installation": kept.installations.get(host.machine, ()),
                "secrets": [kept.secrets[name] for name in sorted(hostvars.secrets_of(self.facility, host, role))],
            }
        )

    def make_secrets(self) -> None:
        """Make the secrets that roles of the site's hosts read, those that are not there."""
        for name, size in self._secrets().items():
            secrets.ensure(self.state, name, size)

    def forget_strangers(self) -> None:
        """Drop receipts of roles that no host has any more."""
        wanted = {
            f"{self.address(host.name)}/role/{role}" for host in self.site.active_hosts for role in hostvars.ROLES
        }
        known = receipts_under(self.store, f"{self.site.name}/host/")
        if gone := [address for address in known if "/role/" in address and address not in wanted]:
            drop_receipts(self.store, gone)

    async def play(self, names: Sequence[HostName], *, lane: int = 0) -> list[Trouble]:
        """What failed on these hosts, once all that is to be played on them was played.

        Of several plays at the same time each has another ``lane``.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        assert self.lease is not None, "whoever plays holds the site's lease"
        todo = await asyncio.to_thread(self.pending, frozenset(names))
        if outside := self._outside(todo):
            self.refused |= outside.keys()
            todo = {name: works for name, works in todo.items() if self.address(name) not in outside}
        if not todo:
            return list(outside.values())
        works = [work for each in todo.values() for work in each]
        await asyncio.to_thread(intend, self.store, self.lease, [work.address for work in works])
        playing = _Playing(self, self.lease, todo)
        for name, each in todo.items():
            self.progress(Event(STAGE, self.address(name), "started", _counted(len(each), "role")))
        said, left = "", playing.left()
        while left:
            try:
                book = self._playbook(left, lane)
                playing.hosts_of_play = {part.name: part.hosts for part in book.parts}
                said = await ansible.play(book, run_id=self.lease.run_id, on_line=playing.hear)
            except RefusedError:
                raise
            except PachonError as error:
                said = str(error)
            # Ansible ends all plays when all hosts of one have failed: the others' roles are yet to be played.
            left = playing.left() if playing.failed_since() else {}
        return [*outside.values(), *playing.finish(said)]

    def _outside(self, todo: Mapping[HostName, Sequence[RoleWork]]) -> dict[str, Trouble]:
        """Hosts that need more than the approved plan holds: nothing is played there."""
        if self.bound is None:
            return {}
        found = {}
        for name, works in todo.items():
            if strange := [work for work in works if work.address not in self.bound]:
                said = f"{', '.join(work.role for work in strange)} would be played, which the plan does not hold"
                cure = "look at what changed, and approve a new plan: 'pachon plan --out FILE'"
                found[self.address(name)] = Trouble(address=self.address(name), error=said, cure=cure)
        return found

    def _playbook(self, todo: Mapping[HostName, Sequence[RoleWork]], lane: int) -> Playbook:
        by_name = {host.name: host for host in self.site.active_hosts}
        variables = {name: inventory.told(self.facility, by_name[name], self.state) for name in todo}
        hosts_of: dict[tuple[str, bool], list[HostName]] = {}
        for name, works in todo.items():
            for work in works:
                if work.settle and has_host_part(work.role):
                    variables[name][f"{work.role}_settle"] = True
                host_only = has_host_part(work.role) and self._is_baked(by_name[name], work.role)
                hosts_of.setdefault((work.role, host_only), []).append(name)
        return Playbook(
            work=self.state / "ansible" / f"{self.site.name}-{lane}",
            parts=tuple(
                Part(role=role, hosts=tuple(hosts_of[role, host_only]), host_only=host_only)
                for role in hostvars.ROLES
                for host_only in (False, True)
                if (role, host_only) in hosts_of
            ),
            variables=variables,
            skipped_tags=() if any(work.settle for works in todo.values() for work in works) else (SETTLE,),
        )


@dataclass(frozen=True)
class _Kept:
    """What is remembered here, read once for all hosts."""

    receipts: Mapping[str, Receipt]
    installations: Mapping[str, Sequence[str]]
    """By serial, the host keys that were made when the machine was last deployed: a new installation has others."""
    secrets: Mapping[str, str]
    """Digests by name."""


class _Playing:
    """Follows one run of plays: receipts as roles end, events as tasks do."""

    def __init__(self, layer: SiteHosts, lease: Lease, todo: Mapping[HostName, Sequence[RoleWork]]) -> None:
        self._layer = layer
        self._lease = lease
        self._todo = todo
        self._left = {name: {work.role: work for work in works} for name, works in todo.items()}
        self._changed = dict.fromkeys(todo, 0)
        self._trouble: dict[HostName, str] = {}
        self._failed = 0
        self.hosts_of_play: dict[str, tuple[HostName, ...]] = {}

    def left(self) -> dict[HostName, list[RoleWork]]:
        """What is yet to be played on hosts that have not failed."""
        return {name: list(works.values()) for name, works in self._left.items() if works and name not in self._trouble}

    def failed_since(self) -> bool:
        """Whether hosts have failed since this was last asked."""
        before, self._failed = self._failed, len(self._trouble)
        return self._failed > before

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
            case Ended(play=play, verdicts=verdicts):
                self._end(play, verdicts)

    @staticmethod
    def _role(play: str) -> str:
        return play.split(" ", 1)[0]

    def _tell(self, name: HostName, message: str) -> None:
        done = 1 - len(self._left[name]) / max(1, len(self._todo[name]))
        self._layer.progress(Event(STAGE, self._layer.address(name), "moving", message, fraction=round(done, 2)))

    def _end(self, play: str, verdicts: Mapping[str, Verdict]) -> None:
        role, good = self._role(play), dict[str, str]()
        for name in self.hosts_of_play.get(play, ()):
            work, verdict = self._left[name].get(role), verdicts.get(name, NO_TASK)
            if work is None or name in self._trouble:
                continue
            if verdict.state in BAD:
                self._trouble[name] = f"role {role}: {_bare(verdict.task)}: {verdict.message}"
                self._layer.progress(Event(STAGE, self._layer.address(name), "failed", self._trouble[name]))
                continue
            good[work.address] = work.digest
            self._changed[name] += verdict.changed
            self._layer.played[work.address] = work.verb
            del self._left[name][role]
        prove(self._layer.store, self._lease, good)

    def finish(self, said: str) -> list[Trouble]:
        """What failed."""
        failed = []
        for name, works in self._todo.items():
            address = self._layer.address(name)
            if not self._left[name]:
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
            failed.append(Trouble(address=address, error=why, cure=cure))
        return failed


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bare(task: str) -> str:
    """Name of a task without its role's."""
    return task.partition(" : ")[2] or task


def _reason(role: str, wanted: str, kept: Receipt | None) -> str:
    """Why the role must be played, for people; empty if its receipt proves that it need not."""
    if kept is None:
        return "was never played here"
    if kept.is_intent:
        return f"run {kept.run_id} began it and did not end it well"
    if kept.inputs_digest != wanted:
        return "its text, its arguments, its secrets or the installation of the host changed"
    days = DAYS_PROVEN.get(role)
    if days is not None and datetime.now(UTC) - kept.at > timedelta(days=days):
        return f"was last played more than {days} days ago"
    return ""
