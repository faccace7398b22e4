"""Carries mutations out on hosts of a facility that stands, has probe and Ansible look, and takes them back."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pachon import hostvars, places, secrets
from pachon.drivers.probe import Probe
from pachon.drivers.ssh import Credentials, Fleet
from pachon.errors import PachonError
from pachon.layers.role_effects import handlers_of, leavings
from pachon.layers.sight import Memory, addresses_of, asked_of, look, manifests_of
from pachon.model.facility import Facility, Host
from pachon.model.manifest import Difference, Expected, expected_of
from pachon.store.database import open_store
from pachon.store.receipts import receipts_under
from tests.mutating import judging
from tests.mutating.checking import Found, check
from tests.mutating.drawing import Mutation
from tests.mutating.judging import Known, Verdict

PROGRAM = Path(__file__).with_name("program.py")
PATIENCE = timedelta(minutes=3)
ATTEMPTS = 20
"""To find all as it was once mutations were taken back: units take a while to start."""


@dataclass
class Field:
    """The hosts that are mutated."""

    facility: Facility
    state: Path
    models: tuple[str, ...] = ("container",)
    """Of machines: an emulated processor would be the whole time's."""
    expected: dict[str, list[Expected]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store = open_store(places.store(self.state))
        try:
            for site in self.facility.sites:
                models = {host.name: site.machine_by_serial[host.machine].model for host in site.active_hosts}
                kept = manifests_of(site, receipts_under(store, f"{site.name}/host/"))
                self.expected |= {name: expected_of(each) for name, each in kept.items() if models[name] in self.models}
        finally:
            store.close()

    @property
    def hosts(self) -> list[Host]:
        """Those that are mutated."""
        return [host for site in self.facility.sites for host in site.active_hosts if host.name in self.expected]

    def known(self) -> Known:
        """What is known of their tasks."""
        unchecked = set()
        for host in self.hosts:
            for role in hostvars.roles_of(host):
                said = leavings(role, hostvars.of_role(self.facility, host, role), baked=True).said
                unchecked |= {(role, task) for task in (*said, *handlers_of(role))}
        return Known(
            unchecked=frozenset(unchecked),
            contentless=frozenset(
                (host, each.name)
                for host, all_ in self.expected.items()
                for each in all_
                if each.kind == "file" and "content" not in each.values
            ),
            whole=frozenset(
                (host, each.name) for host, all_ in self.expected.items() for each in all_ if each.allowed is not None
            ),
        )

    async def see(self) -> dict[str, list[Difference]]:
        """What the probe finds, by host: the product's own look."""
        store = open_store(places.store(self.state))
        try:
            probe = Probe(Credentials.of_state(self.state), key=secrets.key_of_digests(self.state))
            sites = [asked_of(site).only(self.expected) for site in self.facility.sites]
            sights = [await look(each, store, probe, memory=Memory()) for each in sites]
        finally:
            store.close()
        silent = {name: why for sight in sights for name, why in sight.unanswered.items()}
        assert not silent, f"hosts do not answer the probe: {silent}"
        found: dict[str, list[Difference]] = {}
        for sight in sights:
            for each in sight.differences:
                found.setdefault(each.host, []).append(each)
        return found

    async def tell(self, mode: str, mutations: Sequence[Mutation]) -> dict[str, str]:
        """What the program on each host says of its mutations, by their number."""
        by_host: dict[str, list[Mutation]] = {}
        for each in mutations:
            by_host.setdefault(each.host, []).append(each)
        addresses = {name: each for site in self.facility.sites for name, each in addresses_of(site).items()}
        async with Fleet(Credentials.of_state(self.state)) as fleet:

            async def one(host: str, all_: Sequence[Mutation]) -> Mapping[str, Any]:
                call = {
                    "mode": mode,
                    "mutations": [
                        {"number": each.number, "how": each.how, "name": each.name, "seed": each.chance}
                        for each in all_
                    ],
                    "running": [
                        each.name
                        for each in self.expected[host]
                        if each.kind == "unit" and each.values.get("running") == "yes"
                    ],
                }
                try:
                    return await fleet.run_program(addresses[host], PROGRAM.read_text(), call, timeout=PATIENCE)
                except PachonError as error:
                    raise AssertionError(f"{host} cannot {mode} mutations: {error}") from error

            told = await asyncio.gather(*(one(host, all_) for host, all_ in by_host.items()))
        return {number: str(why) for each in told for number, why in each.items()}


@dataclass(frozen=True)
class Round:
    """What came of a batch of mutations."""

    verdicts: list[Verdict]
    found: list[Found]
    """By Ansible."""
    missed: list[Found]
    """What follows from them and the probe has not seen."""
    could_not_be: dict[str, str]


async def round_of(made: Field, mutations: Sequence[Mutation], *, work: Path) -> Round:
    """Mutate, let both look, and take it back; the probe looks twice, since hosts go on meanwhile.

    Raises:
        AssertionError: what was taken back is not as it was, or was not before either.
    """
    await _as_it_was(made)
    could_not = await made.tell("do", mutations)
    done = [each for each in mutations if str(each.number) not in could_not]
    try:
        first = await made.see()
        found = await check(made.facility, made.hosts, made.state, work=work)
        second = await made.see()
    finally:
        kept = await made.tell("undo", mutations)
    assert not kept, kept
    await _as_it_was(made)
    seen = {host: [*first.get(host, ()), *second.get(host, ())] for host in made.expected}
    return Round(
        verdicts=judging.verdicts(done, seen, found, made.known()),
        found=found,
        missed=judging.missed(done, seen, found),
        could_not_be=could_not,
    )


async def _as_it_was(made: Field) -> None:
    for _ in range(ATTEMPTS):
        left = await made.see()
        if not left:
            return
        await asyncio.sleep(1)
    raise AssertionError(f"not as it was: {[f'{host}: {each.said}' for host, all_ in left.items() for each in all_]}")
