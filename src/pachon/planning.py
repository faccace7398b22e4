"""Makes a plan: asks the engine for its preview of every stack, after a look at the world."""

import asyncio
from pathlib import Path
from typing import Literal

from pachon import places
from pachon.apply import hardware_of, hosts_of
from pachon.drivers.pulumi import PlannedAction
from pachon.errors import PachonError
from pachon.ground import Stands, hardware
from pachon.ground import of as ground_of
from pachon.layers.hardware import SiteHardware
from pachon.layers.hosts import STAGE, SiteHosts
from pachon.model.facility import Facility, Site
from pachon.model.hardware import STACKS, StackName
from pachon.plan import Action, Difference, Plan, plan_of
from pachon.progress import Event, Progress
from pachon.store.database import open_store
from pachon.store.journal import standing


async def preview(
    facility: Facility, sites: tuple[Site, ...], *, state: Path, cache: Path, look: bool, progress: Progress
) -> Plan:
    """What ``up`` would do now; changes nothing but the engine's own working files.

    Raises:
        PachonError: the engine fails, or images are missing that are needed to know what hosts are made from.
    """
    ground = ground_of(facility)
    flavours = sorted({host.flavour for site in sites for host in site.active_hosts})
    images = await ground.images(flavours, cache=cache, progress=progress)
    store = open_store(places.store(state))
    actions: list[Action] = []
    notes: list[str] = list(ground.lacks)
    stands = await hardware(facility, state)
    if look and (reason := trusting(stands, state)):
        look = False
        notes.append(f"{reason}: this plan trusts what was last recorded")
    try:
        for site in sites:
            there = standing(store, site.name)
            if not site.active_hosts and not there:
                notes.append(f"site {site.name}: no host is to exist yet")
                continue
            layer = hardware_of(
                facility, site, state=state, store=store, ground=ground, images=images, progress=progress
            )
            progress(Event("plan", site.name, "started", "asking the engine"))
            made = await asyncio.gather(*(_stack(layer, site, name, look=look and bool(there)) for name in STACKS))
            for stack_actions, stack_notes in made:
                actions += stack_actions
                notes += stack_notes
            hosts = hosts_of(layer, ground, state=state, progress=progress)
            actions += [] if hosts is None else await asyncio.to_thread(_roles, site, hosts)
            leftovers = await layer.leftovers(there) if look else []
            actions += [_action(site, "leftover", orphan.as_action()) for orphan in leftovers]
            progress(Event("plan", site.name, "done"))
    finally:
        store.close()
    return plan_of(facility.name, actions, notes)


def trusting(stands: Stands, state: Path) -> str:
    """Why the world is not looked at, for people; empty if it can be."""
    if not stands.reachable:
        return f"the {stands.kind} is {stands.condition}"
    if stands.kind == "racks" and not any((state / "secrets").glob("bmc-*")):
        return "no BMC password of these racks is here"
    return ""


async def _stack(hardware: SiteHardware, site: Site, name: StackName, *, look: bool) -> tuple[list[Action], list[str]]:
    try:
        return [_action(site, name, action) for action in await hardware.preview(name, refresh=look)], []
    except PachonError as error:
        if not look:
            raise
        unknown = [
            Action(
                site=site.name,
                stack=name,
                address=resource.address,
                verb="unknown",
                reason="the world could not be looked at",
            )
            for resource in hardware.resources[name]
        ]
        return unknown, [f"stack {name} of {site.name}: {error}"]


def _roles(site: Site, hosts: SiteHosts) -> list[Action]:
    """An action for each role of each host: what its receipt does not prove is to be played."""
    pending = {work.address: work for works in hosts.pending().values() for work in works}
    return [
        Action(
            site=site.name,
            stack=STAGE,
            address=address,
            verb=pending[address].verb if address in pending else "none",
            reason=pending[address].reason if address in pending else "",
        )
        for host in site.active_hosts
        for address in (f"{hosts.address(host.name)}/role/{role}" for role in hosts.roles_of(host))
    ]


def _action(site: Site, stack: StackName | Literal["leftover"], action: PlannedAction) -> Action:
    return Action(
        site=site.name,
        stack=stack,
        address=action.address,
        verb=action.verb,
        reason=action.reason,
        differences=tuple(Difference(key=c.key, before=c.before, after=c.after) for c in action.changes),
    )
