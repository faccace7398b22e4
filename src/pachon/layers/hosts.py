"""The hosts layer of a site: roles on hosts, played where their receipt does not prove that nothing has changed.

A receipt of a role on a host is the digest of all that decides what the role leaves there: its text, its arguments,
its secrets, and which installation of the host it was. With it is kept a manifest: what the role left, read off the
host by the probe right after the play; where the host was later seen to differ from it, the role is played again.
An intent is put in the receipt's place before the play; so a role that a killed run was at has no receipt, is played
again, and is told to run its handlers ("settle").
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from pachon import hostvars, inventory, secrets
from pachon.drivers.ansible import Effects, Playbook
from pachon.drivers.probe import Probe
from pachon.drivers.run_file import Endpoint
from pachon.drivers.ssh import Credentials
from pachon.layers import served
from pachon.layers.booking import book
from pachon.layers.bounds import Bound, Pending, outside
from pachon.layers.following import STAGE, Playing, RoleWork, Trouble, document_of
from pachon.layers.foreseen import kept_with_intents, told_by_text
from pachon.layers.leaving import (
    begin,
    begun_in,
    come_back,
    end,
    forget,
    goings,
    is_unended,
    leave,
    named,
    rest_of,
    sweep,
    unended,
)
from pachon.layers.proven import Kept, Proven, judged_by
from pachon.layers.proving import given_of, reason_of
from pachon.layers.recording import Probes, record, told_by_plays
from pachon.layers.role_effects import handlers_of, image_tasks_of
from pachon.layers.role_trees import has_host_part, has_image_part, role_trees
from pachon.layers.sight import Asked, Checks, Sight, addresses_of, asked_of, manifest_of
from pachon.model.facility import Facility, Host, HostName, Site
from pachon.model.manifest import LEFT, Difference, Manifest, joined
from pachon.model.stamp import digest
from pachon.progress import Event, Progress, silent
from pachon.store.database import Store
from pachon.store.lease import Lease
from pachon.store.receipts import intend, versions_under

__all__ = ["STAGE", "RoleWork", "SiteHosts", "Trouble"]


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
    played: dict[str, Literal["create", "delete", "update"]] = field(default_factory=dict)
    """Verb of each role that was played well, by address."""
    bound: Bound | None = None
    """What an approved plan holds. None: whatever is pending."""
    refused: set[str] = field(default_factory=set)
    """Hosts that would have needed more than that."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """Doors of addresses that are mapped elsewhere."""
    sight: Sight = field(default_factory=Sight)
    """What hosts were last seen to have."""
    only_roles: Collection[str] | None = None
    """Nothing else is played. None: all roles of a host."""
    proven: Proven | None = None
    """Hosts on which nothing was to be done; None: as it is remembered."""

    @cached_property
    def probe(self) -> Probes:
        """What looks at hosts."""
        return Probe(
            Credentials.of_state(self.state), key=secrets.key_of_digests(self.state), detours=dict(self.endpoints)
        )

    @cached_property
    def _proven(self) -> Proven:
        return self.proven or Proven(self.state, self.site.name)

    async def look(self, only: Collection[HostName] | None = None, *, eyes: served.Eyes | None = None) -> None:
        """See what the hosts (or those) have of what roles left there: what is pending goes by it.

        Without ``eyes`` the site's server is looked for, and connections are opened for this look.
        """
        asked = asked_of(self.site)
        seen = await self._seen(asked if only is None else asked.only(only), eyes)
        self.sight = seen if only is None else self.sight.joined(seen, only)

    async def _seen(self, asked: Asked, eyes: served.Eyes | None) -> Sight:
        server = await served.found(self.state, self.site.name, self.progress) if eyes is None else eyes.server
        probe: Checks = self.probe
        if eyes is not None and isinstance(probe, Probe):
            probe = replace(probe, fleet=eyes.fleet)
        question = served.LookAt(asked=asked, doors=dict(self.endpoints))
        return await served.look(question, server=server, store=self.store, probe=probe, progress=self.progress)

    def address(self, host: HostName) -> str:
        """Address of a host."""
        return f"{self.site.name}/host/{host}"

    def roles_of(self, host: Host) -> tuple[str, ...]:
        """Roles of a host that live hosts are played."""
        there = role_trees()
        own = (role for role in hostvars.roles_of(host) if self.only_roles is None or role in self.only_roles)
        return tuple(role for role in own if role in there and self._has_tasks(host, role))

    def _has_tasks(self, host: Host, role: str) -> bool:
        return has_host_part(role) or not (self._is_baked(host, role) and has_image_part(role))

    def _is_baked(self, host: Host, role: str) -> bool:
        """Whether the host's image holds the role's image part as it is now: another image makes another host."""
        return role in self.baked.get(host.flavour, ())

    def pending(self, only: Collection[HostName] | None = None) -> dict[HostName, list[RoleWork]]:
        """What is to be played (on those hosts), in the definition's order; hosts with nothing to do are left out."""
        hosts = [host for host in self.site.active_hosts if only is None or host.name in only]
        kept = self._kept()
        keys = {host.name: self._key(host, kept) for host in hosts}
        left = versions_under(self.store, f"{self.site.name}/left/")
        begun = begun_in(self.store, {**kept.versions, **left})
        moved = {each.host for each in self.sight.differences} | begun.keys()
        todo = [host for host in hosts if keys[host.name] not in self._proven or host.name in moved]
        kept = kept.with_receipts(self.store, [self.address(host.name) for host in todo])
        had = come_back(self.store, left, {host.name: self.roles_of(host) for host in todo})
        told = {
            host.name: [
                *goings(self.site.name, host, self.sight, begun.get(host.name, {})),
                *(
                    work
                    for role in self.roles_of(host)
                    if (work := self._work(host, role, kept, had.get((host.name, role)))) is not None
                ),
            ]
            for host in todo
        }
        pending = {name: works for name, works in told.items() if works}
        if only is None:
            self._proven.judged(keys, well={host.name for host in todo} - pending.keys())
        return pending

    def judge(self) -> None:
        """Find out what receipts prove, whatever is seen of the hosts: ``pending`` then has less to do."""
        replace(self, sight=Sight(), proven=self._proven).pending()

    def _key(self, host: Host, kept: Kept) -> str:
        made_from = [host.machine, self.generations.get(host.name, ""), sorted(self.baked.get(host.flavour, ()))]
        own = [*made_from, kept.installations.get(host.machine, ())]
        texts = {role: role_trees()[role] for role in self.roles_of(host)}
        return kept.key(judged_by(self.facility), self.address(host.name), texts, own)

    def _kept(self) -> Kept:
        from infra.boot import ca

        return Kept(
            versions=versions_under(self.store, f"{self.site.name}/host/"),
            installations=ca.host_keys(self.state, self.site.name),
            secrets=self.digests_of_secrets(),
        )

    def digests_of_secrets(self) -> dict[str, str]:
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

    def in_order(self) -> int:
        """Number of roles that need no play."""
        pending = [work for works in self.pending().values() for work in works if work.verb != "delete"]
        return self.count()[0] - len(pending)

    def has_played(self, host: HostName) -> bool:
        """Whether any role was played well on the host."""
        return any(address.startswith(f"{self.address(host)}/role/") for address in self.played)

    def _work(self, host: Host, role: str, kept: Kept, had: Manifest | None) -> RoleWork | None:
        """What is to be done of the role, if anything; ``had``: what it left before the host lost it."""
        address = f"{self.address(host.name)}/role/{role}"
        arguments = hostvars.of_role(self.facility, host, role)
        wanted, receipt = self._digest(host, role, arguments, kept), kept.receipts.get(address)
        drift, before = self.sight.drift(self.site.name, host.name, role), manifest_of(receipt)
        reason = renewed = reason_of(role, wanted, receipt, before)
        if not reason and drift:
            reason = f"is not as it was left: {named(drift)}"
        if not reason:
            return None
        tasks = {each.task for each in drift}
        return RoleWork(
            host=host.name,
            role=role,
            address=address,
            verb="create" if receipt is None else "update",
            reason=reason,
            digest=wanted,
            given=given_of(role, arguments),
            settle=(receipt is not None and receipt.is_intent)
            or bool(tasks and tasks & handlers_of(role))
            or any(each.aspect == LEFT for each in drift),
            whole=bool(tasks and tasks & image_tasks_of(role)),
            drift=drift,
            renewed=bool(renewed),
            before=joined(before, had) if receipt is None or receipt.is_intent else before,
        )

    def given(self, host: Host, role: str) -> str:
        """What a ``RoleWork`` of it would have, where the role may not be pending."""
        return given_of(role, hostvars.of_role(self.facility, host, role))

    def _digest(self, host: Host, role: str, arguments: hostvars.Arguments, kept: Kept) -> str:
        """Digest of all that decides what the role leaves on the host."""
        made_from = {
            "host": self.generations.get(host.name, ""),
            "installation": kept.installations.get(host.machine, ()),
            "secrets": [kept.secrets[name] for name in sorted(hostvars.secrets_of(self.facility, host, role))],
        }
        return digest({"role": role_trees()[role], "arguments": arguments, **made_from})

    def make_secrets(self) -> None:
        """Make the secrets that roles of the site's hosts read, those that are not there."""
        for name, size in self._secrets().items():
            secrets.ensure(self.state, name, size)

    def forget_strangers(self) -> None:
        """Drop receipts of roles that hosts no longer have; what those left is remembered as long as it is there."""
        assert self.lease is not None, "whoever forgets holds the site's lease"
        forget(self.site, self.store, self.lease, self.sight)

    async def play(self, names: Sequence[HostName], *, lane: int = 0) -> list[Trouble]:
        """What failed on these hosts, once all that is to be played on them was played.

        Of several plays at the same time each has another ``lane``.

        Raises:
            RefusedError: a later writer has taken the site's lease.
        """
        assert self.lease is not None, "whoever plays holds the site's lease"
        if unseen := [name for name in names if name in self.sight.unanswered]:
            await self.look(unseen)
        todo, troubles = self._inside(await asyncio.to_thread(self.pending, frozenset(names)))
        troubles += await self._carry_out(todo, self.lease, lane)
        failed = {each.address for each in troubles}
        begun = await asyncio.to_thread(unended, self.site, self.store, todo)
        late = [name for name in begun if self.address(name) not in failed]
        return [*troubles, *(await self._end(late, self.lease, lane) if late else ())]

    async def _carry_out(self, todo: Pending, lease: Lease, lane: int) -> list[Trouble]:
        """Remove first, then play."""
        troubles: list[Trouble] = []
        gone = [work for works in todo.values() for work in works if work.verb == "delete"]
        if gone:
            troubles += await self._leave(gone, lease)
            todo, more = await self._seen_since({work.host for work in gone}, todo)
            troubles += more
        todo = {name: kept for name, works in todo.items() if (kept := [one for one in works if one.verb != "delete"])}
        return [*troubles, *(await self._play(todo, lease, lane) if todo else ())]

    async def _end(self, names: Collection[HostName], lease: Lease, lane: int) -> list[Trouble]:
        """Remove what is there of roles that never were played well there, now that all others of the host were."""
        await self.look(names)
        pending = await asyncio.to_thread(self.pending, names)
        todo, troubles = self._inside(
            {name: kept for name, works in pending.items() if (kept := [one for one in works if is_unended(one)])}
        )
        for each in troubles:
            self.progress(Event(STAGE, each.address, "failed", each.error))
        return [*troubles, *await self._carry_out(todo, lease, lane)]

    async def _seen_since(self, names: set[HostName], todo: Pending) -> tuple[Pending, list[Trouble]]:
        """What is to be done now that these hosts lost something: a unit that does not run without it is played."""
        others = {name: works for name, works in todo.items() if name not in names}
        now, troubles = self._inside(await asyncio.to_thread(self.pending, names))
        return {**others, **now}, troubles

    def _inside(self, todo: Pending) -> tuple[Pending, list[Trouble]]:
        """What the approved plan holds of it, and why other hosts are left alone."""
        if self.bound is None:
            return todo, []
        troubles = outside(todo, self.bound, self.address)
        self.refused |= {self.address(name) for name in troubles}
        return {name: works for name, works in todo.items() if name not in troubles}, list(troubles.values())

    async def _leave(self, gone: Sequence[RoleWork], lease: Lease) -> list[Trouble]:
        """Remove what roles left that hosts no longer have."""

        async def seen(names: set[HostName]) -> Sight:
            await self.look(names)
            return self.sight

        await asyncio.to_thread(begin, self.store, lease, gone)
        done, troubles = await leave(self.site, self.probe, gone, lease, seen)
        await asyncio.to_thread(end, self.store, lease, done)
        for work in done:
            self.played[work.address] = "delete"
            said = f"{work.role}: removed what it had left: {named(work.drift)}"
            self.progress(Event(STAGE, self.address(work.host), "moving", said))
        for each in troubles:
            self.progress(Event(STAGE, each.address, "failed", each.error))
        return troubles

    async def _play(self, todo: Pending, lease: Lease, lane: int, *, again: bool = False) -> list[Trouble]:
        await self._begin([work for each in todo.values() for work in each], lease)
        playing = Playing(self, lease, todo)
        for name, each in todo.items():
            self.progress(Event(STAGE, self.address(name), "started", _counted(len(each), "role")))
        said = await playing.run(lane)
        troubles = playing.finish(said)
        return troubles if again else [*troubles, *await self._play_left(playing.left_over, lease, lane)]

    async def _play_left(self, works: Collection[RoleWork], lease: Lease, lane: int) -> list[Trouble]:
        """Remove what is of no role from the hosts of these, just played, and have handlers take notice."""
        if not works:
            return []
        names = {work.host for work in works}
        await self.look(names)
        todo: Pending = {}
        for name, pending in (await asyncio.to_thread(self.pending, names)).items():
            left = [one for one in pending if one.verb != "delete" and rest_of([one])]
            todo = {**todo, name: left} if left else todo
        todo, troubles = self._inside(todo)
        for each in troubles:
            self.progress(Event(STAGE, each.address, "failed", each.error))
        return [*troubles, *(await self._play(todo, lease, lane, again=True) if todo else ())]

    async def _begin(self, works: Sequence[RoleWork], lease: Lease) -> None:
        """Put down intents, with what plays left and will leave, and put aside what lies where it may not."""
        host_only = self._host_only(works)
        told = await asyncio.to_thread(told_by_text, self.facility, self.site, works, host_only=host_only)
        kept = await kept_with_intents(works, told, self.probe, addresses_of(self.site))
        documents = {address: document_of(manifest) for address, manifest in kept.items()}
        await asyncio.to_thread(intend, self.store, lease, [work.address for work in works], documents=documents)
        if rest_of(works):
            await sweep(self.site, self.probe, works, lease)

    def _host_only(self, works: Iterable[RoleWork]) -> set[str]:
        """Addresses of those of which what the image brought is not played."""
        by_name = {host.name: host for host in self.site.active_hosts}
        return {work.address for work in works if self._plays_host_only(by_name[work.host], work)}

    def _plays_host_only(self, host: Host, work: RoleWork) -> bool:
        """Whether what the image brought is not played."""
        return has_host_part(work.role) and self._is_baked(host, work.role) and not work.whole

    async def manifests(
        self, works: Mapping[HostName, Mapping[str, RoleWork]], effects: Mapping[tuple[HostName, str], Effects]
    ) -> tuple[dict[str, Manifest], list[Difference]]:
        """Manifests of these roles by address, now that they were played, and what they have not put right."""
        host_only = self._host_only(work for roles in works.values() for work in roles.values())
        told = await asyncio.to_thread(told_by_plays, self.facility, self.site, works, effects, host_only=host_only)
        made = await record(told, self.probe, addresses_of(self.site))
        by_address = {works[host][role].address: each for host, roles in made.items() for role, each in roles.items()}
        unmended = [difference for roles in told.values() for each in roles.values() for difference in each.unmended]
        return by_address, list(dict.fromkeys(unmended))

    def playbook(self, todo: Pending, lane: int) -> Playbook:
        """What Ansible is to play."""
        work = self.state / "ansible" / f"{self.site.name}-{lane}"
        by_name = {host.name: host for host in self.site.active_hosts}
        variables = {name: inventory.told(self.facility, by_name[name], self.state) for name in todo}
        works = [work for each in todo.values() for work in each]
        return book(works, work=work, variables=variables, host_only=self._host_only(works))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
