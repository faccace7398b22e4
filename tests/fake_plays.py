"""Stand-ins for what the hosts layer calls: plays that end as a test says, and hosts that have what it says."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pachon import definition, hostvars
from pachon.drivers.ansible import Effects, Ended, Line, PlayBegan, Playbook, Result, Verdict
from pachon.drivers.probe import LOOK, RECORD, Rest, Seen, Values
from pachon.errors import PachonError, PermanentError, RefusedError, TemporaryError
from pachon.layers.following import BAD
from pachon.layers.hosts import RoleWork, SiteHosts
from pachon.model.facility import Facility
from pachon.model.manifest import Expected, Subject
from pachon.store.database import Store, open_store
from pachon.store.journal import Journal, Verb
from pachon.store.lease import Lease, hold

SMALL = definition.load(Path(__file__).parent / "cases" / "definition" / "world" / "facilities" / "small")
ONE = SMALL.sites[0]
GOOD = Verdict(state="ok", changed=0, task="", message="")


class FakePlays:
    """Stands in for ansible-playbook: every role ends well, unless told otherwise."""

    def __init__(self) -> None:
        self.books: list[Playbook] = []
        self.verdict: Callable[[str, str], Verdict | None] = lambda role, host: GOOD
        self.error: PermanentError | None = None
        self.dies = False
        self.heal: Callable[[], None] = lambda: None
        """What a play puts right."""
        self.between: Callable[[str], Awaitable[None]] | None = None
        """What is waited for once a role was played."""
        self.telling: dict[str, tuple[str, ...]] = {}
        """Roles whose tasks tell what they leave, and the files that these are, beyond what is read from the role."""

    async def play(self, book: Playbook, *, run_id: str, on_line: Callable[[Line], None]) -> str:
        """Tell what was asked for."""
        self.books.append(book)
        self.heal()
        lost: set[str] = set()
        for part in [] if self.dies else book.parts:
            on_line(PlayBegan(kind="play", play=part.name))
            told = {host: self.verdict(part.role, host) for host in part.hosts if host not in lost}
            verdicts = {host: verdict for host, verdict in told.items() if verdict is not None}
            lost |= {host for host, verdict in verdicts.items() if verdict.state in BAD}
            for host, verdict in verdicts.items():
                if verdict.changed:
                    line = {
                        "kind": "result",
                        "play": part.name,
                        "host": host,
                        "task": f"{part.role} : Do",
                        "message": "",
                    }
                    on_line(Result.model_validate({**line, "handler": False, "state": "changed"}))
            for host in verdicts if part.role in self.telling else ():
                effects = [{"kind": "file", "name": name, "aspects": ["mode"]} for name in self.telling[part.role]]
                task = {"task": f"{part.role} : Do", "effects": effects}
                on_line(Effects.model_validate({"kind": "effects", "play": part.name, "host": host, "tasks": [task]}))
            on_line(Ended(kind="ended", play=part.name, verdicts=verdicts))
            if self.between is not None:
                await self.between(part.role)
            if verdicts and all(verdict.state in BAD for verdict in verdicts.values()):
                return "no more hosts left"  # as Ansible does: the plays of other hosts are left out too
        if self.error is not None:
            raise self.error
        return ""


def play(layer: SiteHosts) -> list[str]:
    """What goes wrong when all hosts of that site are played."""
    troubles = asyncio.run(layer.play([host.name for host in ONE.active_hosts]))
    return [trouble.error for trouble in troubles]


def seen(layer: SiteHosts) -> list[RoleWork]:
    """What a look finds to be played."""
    asyncio.run(layer.look())
    return [work for works in layer.pending().values() for work in works]


@contextmanager
def played_site(facility: Facility, state: Path, probe: "FakeProbe") -> Iterator[SiteHosts]:
    """The hosts of the facility's first site, which were all played well."""
    site = facility.sites[0]
    store = open_store(state / "store.db")
    with hold(store, site.name, facility=facility.name, command="test") as lease:
        made = SiteHosts(
            facility=facility,
            site=site,
            state=state,
            store=store,
            generations={host.name: "g1" for host in site.active_hosts},
            baked={"server": hostvars.ROLES, "switch": hostvars.EVERY_HOST},
            lease=lease,
        )
        made.probe = probe
        made.make_secrets()
        assert asyncio.run(made.play([host.name for host in site.active_hosts])) == []
        yield made
    store.close()


def stands(store: Store, lease: Lease, address: str, *, verb: Verb = "create") -> None:
    """The journal has it that this was done to a host."""

    async def do() -> None:
        step = await journal.intend(address, verb, kind="host", generation="g1", inputs={})
        await journal.finish(step, "done")

    journal = Journal(store, site=lease.site, run_id=lease.run_id, fencing_token=lease.fencing_token)
    asyncio.run(do())
    journal.close()


class FakeProbe:
    """Stands in for hosts: each has what roles left there, but for what a test changes."""

    def __init__(self) -> None:
        self.changed: dict[tuple[str, str, str], str] = {}
        """By host, subject and aspect, what is there instead."""
        self.strangers: dict[str, list[str]] = {}
        """By host, paths."""
        self.silent: set[str] = set()
        """Hosts that do not answer."""
        self.checked: list[str] = []
        self.swept: dict[str, list[str]] = {}
        self.rules: list[str] = []
        """Hosts whose packet filter was given its own rules and no others."""
        self.gone: set[tuple[str, str]] = set()
        """Hosts and names of what was swept and no play has made again."""
        self.tokens: dict[str, int] = {}
        """By host, the newest writer's that was there."""
        self.sweeping: Callable[[], None] = lambda: None
        """What happens as a sweep begins."""
        self.sweep_ended: Callable[[], None] = lambda: None
        self.told: dict[str, Mapping[str, str]] = {}
        """By host, units that took notice of what went."""
        self.stuck: set[str] = set()
        """Names of what cannot be taken away."""

    def _has(self, host: str, kind: str, name: str, aspect: str) -> str:
        if (host, name) in self.gone:
            return "absent" if aspect == "is" else ""
        usual = {"is": kind, "running": "yes"}.get(aspect, f"{aspect} of {name}")
        return self.changed.get((host, name, aspect), usual)

    async def check(
        self, addresses: Mapping[str, str], expected: Mapping[str, Sequence[Expected]], *, limit: timedelta = LOOK
    ) -> dict[str, Seen | PachonError]:
        """What a test changed."""
        self.checked += expected
        return {host: self._seen(host, each) for host, each in expected.items()}

    def _seen(self, host: str, expected: Sequence[Expected]) -> Seen | PachonError:
        if host in self.silent:
            return TemporaryError(f"no SSH answer from {host}")
        told: list[tuple[int, Mapping[str, Any]]] = []
        for number, each in enumerate(expected):
            found = {key: self._has(host, each.kind, each.name, key) for key in each.values}
            differing: dict[str, Any] = {key: value for key, value in found.items() if each.values[key] != value}
            if each.allowed is not None and (inside := self._strange(host, each.name)):
                differing["entries"] = inside
            if differing:
                told.append((number, differing))
        return told

    def _strange(self, host: str, folder: str) -> list[str]:
        found = [path.rpartition("/") for path in self.strangers.get(host, ())]
        return [name for above, _, name in found if above == folder]

    async def record(
        self, addresses: Mapping[str, str], subjects: Mapping[str, Sequence[Subject]], *, limit: timedelta = RECORD
    ) -> dict[str, Values | PachonError]:
        """What there is."""
        return {
            host: TemporaryError(f"no SSH answer from {host}")
            if host in self.silent
            else [
                {aspect: self._has(host, each.kind, each.name, aspect) for aspect in ("is", *each.aspects)}
                | ({"entries": self._strange(host, each.name)} if each.whole else {})
                for each in all_
            ]
            for host, all_ in subjects.items()
        }

    async def sweep(
        self, addresses: Mapping[str, str], rest: Mapping[str, Rest], *, token: int, limit: timedelta = RECORD
    ) -> dict[str, Sequence[str] | PachonError]:
        """Take strangers and leftovers away."""
        if older := [host for host in rest if self.tokens.get(host, 0) > token]:
            return {host: RefusedError(f"{host}: fencing token {token} is older", cure="nothing") for host in older}
        self.sweeping()
        if silent := self.silent.intersection(rest):
            return {host: TemporaryError(f"no SSH answer from {host}") for host in silent}
        self.rules += [host for host, each in rest.items() if each.rules]
        told = {host: [*each.units, *each.paths, *each.folders] for host, each in rest.items()}
        for host, names in told.items():
            self.swept.setdefault(host, []).extend(names)
            self.gone |= {(host, name) for name in names if name not in self.stuck}
            self.strangers[host] = [name for name in self.strangers.get(host, ()) if name in self.stuck]
        self.told |= {host: each.told for host, each in rest.items() if each.told}
        self.sweep_ended()
        return dict(told)
