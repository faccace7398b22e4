"""What runs are killed in: a facility that is made, then changed, replaced and partly destroyed, on files.

In some scenes the definition is another one by the time of the next run.

``furnish`` puts the edges of ``pachon.apply`` on files, in a process that does nothing else afterwards.
"""

import asyncio
import contextlib
import functools
import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy
from sqlalchemy import select

from infra.boot import ca, launch
from infra.provider.folder import seed_machine
from infra.toolchain import programs
from pachon import apply, configuring, definition, handover, hostvars, opening, places, planning, sites
from pachon.approving import plan_at
from pachon.drivers import ansible
from pachon.drivers.pulumi import engine
from pachon.drivers.run_file import Budgets
from pachon.layers import foreseen as foreseeing
from pachon.layers import hardware
from pachon.layers.hosts import SiteHosts
from pachon.model.facility import Facility
from pachon.model.hardware import inputs_of as facility_inputs
from pachon.plan.document import Plan, text_of_file
from pachon.progress import silent
from pachon.store import engines, tables
from pachon.store import lease as leases
from pachon.store.database import Store, open_store
from tests.e2e import making
from tests.faults.boundaries import cross
from tests.faults.files import FileEngine, FileGround, FileParcels, world_of
from tests.faults.plays import LOSING, FilePlays, FileProbe, foreseen, installations

NAME = "filed"
GIB = 2**30
PEOPLE = "people:\n  - {name: ana, title: Ana of the test, uid: 10001}\n"
HOSTS = tuple(making.host(NAME, number) for number in range(1, 8))
DESTROYED = frozenset({*(f"here/host/{HOSTS[number]}" for number in (2, 3, 4)), f"here/role/{LOSING}"})
"""What the change replaces where it is (its disk is another one), removes and moves to another machine, and a role."""
UNDONE = frozenset(f"here/host/{HOSTS[number]}" for number in (2, 4, 6))
"""What has to go where a change that was begun is taken back."""
DROPPED = frozenset({*(f"here/host/{HOSTS[number]}" for number in (3, 4)), f"here/role/{LOSING}"})
"""What has to go where it was made, and is then dropped, or moved to another machine; and a role."""
SECOND_DISK = "DFILED0003B"
PLAYED = ("base", "people")
NEVER_SECONDS = 1e9
"""What is sent to a controller ahead of time would be there or not by chance."""
"""Roles that hosts have: a few are as good as all. The change has other arguments for the second."""


@dataclass(frozen=True)
class Place:
    """Where a facility, its state and its world lie."""

    top: Path
    """Folder of state and world: what is copied."""
    fixed: Path
    """Folder of the definitions and of what else stays the same."""

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.top / "state"

    @property
    def world(self) -> Path:
        """The world of files."""
        return world_of(self.state)

    def definition(self, name: str) -> Path:
        """A definition: ``made``, ``changed``, or ``fewer``, which is ``made`` without some of it."""
        return self.fixed / "definitions" / name

    @property
    def plan(self) -> Path:
        """File of the sealed plan."""
        return self.top / "plan.json"


def prepare(top: Path) -> Place:
    """A facility whose machines are off and blank, with all of its definitions."""
    place = Place(top / "blank", top / "fixed")
    made, changed, fewer = (place.definition(name) for name in ("made", "changed", "fewer"))
    making.small(made, name=NAME, network="198.19.60", containers=5, spare=2, furnished=True)
    _change_line(made, HOSTS[1], "groups: []", f"groups: [admin, {LOSING}]")
    disks = made / "sites" / "here" / "disks.csv"
    disks.write_text(disks.read_text() + f"{making.serial(NAME, 3)},vdb,{SECOND_DISK},ssd,4\n")
    shutil.copytree(made, changed)
    with (changed / "facility.yaml").open("a") as file:
        file.write(PEOPLE)
    first_disk = f"{making.serial(NAME, 3)},vda,"
    disks = changed / "sites" / "here" / "disks.csv"
    disks.write_text("".join(line for line in disks.read_text().splitlines(True) if not line.startswith(first_disk)))
    making.alter_host(changed, HOSTS[4], machine=making.serial(NAME, 6))
    _change_line(changed, HOSTS[3], HOSTS[3], HOSTS[6])
    _change_line(changed, HOSTS[6], making.serial(NAME, 4), making.serial(NAME, 7))
    _change_line(changed, HOSTS[1], f", {LOSING}]", "]")
    _change_line(changed, "landing", "size_gib: 1", "size_gib: 2")
    _change_line(changed, HOSTS[1], "198.19.62.12", "198.19.62.112")
    shutil.copytree(made, fewer)
    making.drop_host(fewer, HOSTS[3])
    making.alter_host(fewer, HOSTS[4], machine=making.serial(NAME, 6))
    _change_line(fewer, HOSTS[1], "198.19.62.12", "198.19.62.113")
    _change_line(fewer, HOSTS[1], f", {LOSING}]", "]")
    seed(place, definition.load(made))
    return place


def _change_line(folder: Path, with_: str, old: str, new: str) -> None:
    path = folder / "sites" / "here" / "site.yaml"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line.replace(old, new) if f"name: {with_}," in line else line for line in lines))


def seed(place: Place, facility: Facility) -> None:
    """Put the facility's machines into the world, and what a controller needs into the state folder."""
    for machine in facility.machines:
        seed_machine(
            place.world,
            machine.serial,
            management_address=str(machine.management_address),
            macs=[nic.mac for nic in machine.nics],
            disks={disk.serial: disk.size_gib * GIB for disk in machine.disks},
        )
    (place.state / "secrets").mkdir(parents=True)
    for site in facility.sites:
        (place.state / "secrets" / f"bmc-{site.name}").write_text("secret")
    for flavour in ("server", "switch"):
        for kind in ("root", "kernel", "deploy"):
            (place.fixed / f"{flavour}-{kind}").write_text(kind)
    (place.fixed / "cache" / "images").mkdir(parents=True)


def furnish(place: Place, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Put the edges on files in this process; for good, if ``put`` does not know better."""
    beats: list[int] = []

    def heartbeat() -> None:
        """Push back the lease's expiry, once: the thread that does so would be too late for so short a run."""
        if not beats:
            beats.append(1)
            store = open_store(places.store(place.state))
            for row in _leases(store):
                leases.heartbeat(store, row)
            store.close()

    budgets = Budgets(ssh_seconds=0.5, adoption_seconds=0.05, deploy_seconds=20)

    def file_engine(**settings: Any) -> FileEngine:
        return FileEngine(world="folder", folder=place.world, budgets=budgets, **settings)

    async def boot(*given: Any, state: Path, **named: Any) -> Path:
        cross("boot/before")
        (state / "ssh_config").write_text("Host *\n")
        cross("boot/after")
        return state / "socket"

    ground = FileGround(place.fixed)
    changes: Mapping[tuple[Any, str], Any] = {
        (apply, "ground_of"): lambda facility: ground,
        (planning, "ground_of"): lambda facility: ground,
        (opening, "hardware"): _stands,
        (apply, "parcel_of_program"): lambda cache: ("program-1", place.fixed / "server-root"),
        (handover, "parcel"): FileParcels(place.world),
        (handover, "PAUSE_SECONDS"): NEVER_SECONDS,
        (launch, "ensure"): boot,
        (programs, "find"): lambda name: Path("/usr/bin/true"),
        (sites, "Engine"): file_engine,
        (ansible, "play"): FilePlays(place.world, heartbeat).play,
        (configuring.Configuring, "_gather"): _at_once,
        (hostvars, "roles_of"): lambda host: (*PLAYED, *(role for role in host.groups if role == LOSING)),
        (SiteHosts, "probe"): FileProbe(place.world),
        (foreseeing, "foreseen"): foreseen,
        (ca, "host_keys"): lambda state, site: installations(place.world),
    }
    for (owner, name), value in changes.items():
        put(owner, name, value)


def _leases(store: Store) -> list[leases.Lease]:
    with store.transaction() as connection:
        rows = connection.execute(select(tables.leases).where(tables.leases.c.released_at.is_(None))).all()
    return [leases.Lease(site=row.site, run_id=row.run_id, fencing_token=row.fencing_token) for row in rows]


async def _stands(*given: Any) -> Any:
    from pachon.ground import Stands

    return Stands("racks", "", reachable=True)


async def _at_once(self: Any) -> None:
    """Whoever stands is played at once."""


def warm() -> None:
    """Have read once what does not change while a process lives."""
    digest = functools.cache(hardware.code_digest)

    def code_digest(folders: Any) -> str:
        return digest(tuple(folders))

    made: dict[tuple[object, ...], Any] = {}
    inputs_of, create_engine = facility_inputs, sqlalchemy.create_engine

    def known_inputs(facility: Facility, site: str, facts: Mapping[str, Any]) -> Any:
        key = (id(facility), site, *sorted(facts))
        return made.get(key) or made.setdefault(key, (facility, inputs_of(facility, site, facts)))

    def compiled(*given: Any, **named: Any) -> Any:
        """An engine that knows the statements which the first one has compiled."""
        opened = create_engine(*given, **named)
        shared = made.setdefault(("engine",), opened)
        opened.dialect, opened._compiled_cache = shared.dialect, shared._compiled_cache
        opened.pool._dialect = shared.dialect
        return opened

    for owner in (planning, apply):
        owner.code_digest = code_digest  # type: ignore[attr-defined]  # put in place of the imported function
    for owner in (engine, hardware):
        owner.inputs_of = lambda *given: known_inputs(*given)[1]  # type: ignore[attr-defined]  # see above
    engines.sqlalchemy = _with(sqlalchemy, create_engine=compiled)  # type: ignore[attr-defined]  # see above
    definition.load = functools.cache(definition.load)


@dataclass(frozen=True)
class Scene:
    """A run that is killed again and again, always from the same beginning, and the run after it."""

    name: str
    begins: str
    """Snapshot that it begins from."""
    definition: str
    destroy: frozenset[str] = frozenset()
    sealed: bool = False
    """Whether it is ``apply FILE``, not ``up``."""
    then: str = ""
    """Definition of the run after it, where that is another one."""
    undoing: frozenset[str] = frozenset()
    """What that one may have to destroy, as far as the killed run has begun it."""

    @property
    def ends(self) -> str:
        """Definition that all ends in."""
        return self.then or self.definition

    def order(self, place: Place) -> apply.Order:
        """What is asked for of the run that is killed."""
        if not self.sealed:
            return order(place, self.definition, destroy=self.destroy)
        return order(place, self.definition, destroy=self.destroy, plan=plan_at(place.plan))

    def order_after(self, place: Place) -> apply.Order:
        """What is asked for of the run after it."""
        if not self.then:
            return self.order(place)
        return order(place, self.then, destroy=self.undoing & {*begun(place), f"here/role/{LOSING}"})


MAKE = Scene("make", "blank", "made")
CHANGE = Scene("change", "made", "changed", DESTROYED)
APPLY = Scene("apply", "planned", "changed", DESTROYED, sealed=True)
UNDO = Scene("undo", "made", "changed", DESTROYED, then="made", undoing=UNDONE)
DROP = Scene("drop", "blank", "made", then="fewer", undoing=DROPPED)
SCENES = {scene.name: scene for scene in (MAKE, CHANGE, APPLY, UNDO, DROP)}


def begun(place: Place) -> frozenset[str]:
    """Addresses at which something was ever begun: nothing else is there to be destroyed."""
    path = Path(places.store(place.state))
    if not path.exists():
        return frozenset()
    with contextlib.closing(sqlite3.connect(path)) as store:
        try:
            return frozenset(address for (address,) in store.execute("SELECT DISTINCT address FROM steps"))
        except sqlite3.OperationalError:
            return frozenset()  # killed before it had tables


def _with(module: Any, **changed: Any) -> Any:
    """The module with some names changed, for one of those that use it."""
    return SimpleNamespace(**{**vars(module), **changed})


def order(place: Place, name: str, *, destroy: frozenset[str] = frozenset(), plan: Plan | None = None) -> apply.Order:
    """An order to bring that definition about."""
    folder = place.definition(name)
    facility = definition.load(folder)
    return apply.Order(
        facility=facility,
        state=place.state,
        cache=place.fixed / "cache",
        command="pachon up",
        sites=facility.sites,
        destroy=destroy,
        definition=folder,
        plan=plan,
    )


def seal(place: Place, name: str) -> Plan:
    """The plan of that definition, also in its file."""
    folder = place.definition(name)
    facility = definition.load(folder)
    work = planning.make(
        facility,
        facility.sites,
        state=place.state,
        cache=place.fixed / "cache",
        look_first=True,
        progress=silent,
    )
    plan = asyncio.run(work)
    place.plan.write_text(text_of_file(plan))
    return plan


def up(wanted: apply.Order) -> dict[str, Any]:
    """What came of it, as ``--json`` has it."""
    return dict(json.loads(apply.up(wanted, silent).model_dump_json()))
