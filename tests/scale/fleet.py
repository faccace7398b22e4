"""The survey's full facility on the twin, as it stands after it was brought up and played: for tests and measurements.

Deploying 2,015 twin machines and playing roles on hosts without operating systems is left out: what they would leave
is written down here (disks, power, asset tags, journal, receipts), by the code that reads it later where there is any.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
from pydantic import SecretStr
from sqlalchemy import insert

from infra.boot import ca, launch
from infra.boot.orders import SERVER_PRINCIPAL, SERVER_USER
from infra.lab.bmc import hardware as bmc
from infra.lab.twin import disk, faults, instance, machines, subjects
from infra.lab.twin.disk import Disk
from infra.lab.twin.faults import MachineFaults
from infra.lab.twin.ground import Twin
from pachon import definition, places
from pachon.layers.hardware import SiteHardware, code_digest
from pachon.layers.sight import MANIFEST
from pachon.model.facility import Facility, Host, HostName, Site
from pachon.model.hardware import STACKS, Kind
from pachon.model.stamp import Stamp
from pachon.progress import silent
from pachon.sites import CODE, hardware_of, hosts_of
from pachon.store.database import Store, open_store
from pachon.store.receipts import put_receipt, receipts_at
from pachon.store.tables import receipts, steps

NAME = "t-scale"
RUN = "20260101T000000-scale"
WHOLE = places.CHECKOUT / "inventory" / "facilities" / "rubin"
TASKS = 50
"""Of each host, each with a subject."""
ASPECTS = ("content", "mode", "owner", "group")
POOLS = ("access", "batch", "commissioning", "database", "prompt")
"""Those of the 2,015."""
ASIDE = {"storage": 1, "development": 1}
"""Machines beside the 2,015 compute and database ones, of which there are few here; but all switches."""


@dataclass(frozen=True)
class Fleet:
    """A facility on the twin. ``top`` holds its definition and all of its state."""

    top: Path

    @property
    def definition(self) -> Path:
        """Folder of its definition."""
        return self.top / "definition"

    @property
    def state(self) -> Path:
        """Folder of its state."""
        return self.top / "state" / NAME

    @property
    def machines(self) -> Path:
        """Folder of the twin's machines."""
        return instance.machines_folder(self.state)

    def facility(self) -> Facility:
        """The facility as it is defined now."""
        return definition.load(self.definition)

    def define(self, counts: Mapping[str, int]) -> None:
        """Write the definition: the survey's, with so many hosts in these pools."""
        shutil.copytree(WHOLE, self.definition)
        own = self.definition / "facility.yaml"
        own.write_text(own.read_text().replace("name: rubin\n", f"name: {NAME}\n", 1))
        for path in self.definition.glob("sites/*/site.yaml"):
            text = path.read_text()
            for pool, number in {**ASIDE, **counts}.items():
                wanted = rf"(  - name: {pool}\n    machines:(?:\n    .*)*?\n    count: )\d+"
                text = re.sub(wanted, rf"\g<1>{number}", text)
            path.write_text(text)

    def stand(self) -> int:
        """Number of hosts, all of which stand now as the definition wants them."""
        facility = self.facility()
        launch.prepare(facility, state=self.state)
        store = open_store(places.store(self.state))
        try:
            ground = Twin(facility)
            flavours = sorted({host.flavour for host in facility.hosts})
            images = asyncio.run(ground.images(flavours, cache=places.cache(), progress=silent))
            code = code_digest(CODE)
            for site in facility.sites:
                layer = hardware_of(
                    facility, site, state=self.state, store=store, ground=ground, images=images, progress=silent
                )
                self._made(layer, store, code)
                generations = {
                    each.address.rpartition("/")[2]: each.generation
                    for listed in layer.resources.values()
                    for each in listed
                    if each.kind is Kind.HOST
                }
                self._deployed(facility, site, generations, _segments(layer))
                put_receipt(store, f"{site.name}/host/-/role/-", run_id=RUN, inputs_digest="-")
                self._played(facility, site, store, hosts_of(layer, ground, state=self.state, progress=silent))
        finally:
            store.close()
        asyncio.run(instance.up(facility, state=self.state, progress=silent))
        return sum(len(site.active_hosts) for site in facility.sites)

    def down(self) -> None:
        """Nothing of the twin is left running."""
        asyncio.run(instance.down(NAME, state=self.state, progress=silent))

    def change(self, host: HostName, drift: Mapping[str, Mapping[str, str]]) -> None:
        """Have the host differ so from what was left there; what it had of other differences is gone."""
        found = {each.name: each.machine for each in self.facility().hosts}
        faults.put(
            self.machines, {found[host]: MachineFaults(drift={name: dict(each) for name, each in drift.items()})}
        )

    def outdate(self, host: HostName, role: str) -> None:
        """Have the receipt of a role be of other arguments than the definition gives it: that host is to be changed."""
        store = open_store(places.store(self.state))
        try:
            ((address, kept),) = receipts_at(store, [f"{self._site_of(host)}/host/{host}/role/{role}"]).items()
            put_receipt(store, address, run_id=RUN, inputs_digest="another", document=kept.document)
        finally:
            store.close()

    def edit(self) -> None:
        """Have a file of the definition be another, though it says the same."""
        path = self.definition / "facility.yaml"
        path.write_text(path.read_text() + "# edited\n")

    def _site_of(self, host: HostName) -> str:
        return next(each.site for each in self.facility().hosts if each.name == host)

    def command(self, *words: str, cost: str = "cost", files: int = 0) -> subprocess.Popen[bytes]:
        """The command line at work on this facility, with so many files at most; its output is kept in a pipe."""
        argv = [sys.executable, "-m", "tests.scale.command", str(self.top / f"{cost}.json"), str(files), *words]
        return subprocess.Popen(
            [*argv, "--facility", str(self.definition), "--json"],
            cwd=places.CHECKOUT,
            env={**os.environ, "PACHON_STATE": str(self.state.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def cost(self, name: str = "cost") -> dict[str, Any]:
        """What a command that has ended cost."""
        told: dict[str, Any] = json.loads((self.top / f"{name}.json").read_text())
        return told

    def _made(self, layer: SiteHardware, store: Store, code: str) -> None:
        """The journal and the receipts of stacks say that all is there."""
        now, site = datetime.now(UTC), layer.stack_by_name["compute"].site
        rows = [
            {
                "run_id": RUN,
                "site": site,
                "address": each.address,
                "kind": each.kind.value,
                "verb": "create",
                "generation": each.generation,
                "fencing_token": 1,
                "inputs": each.inputs,
                "intended_at": now,
                "ended_at": now,
                "outcome": "done",
                "message": "",
            }
            for name in STACKS
            for each in layer.resources[name]
        ]
        with store.transaction() as connection:
            connection.execute(insert(steps), rows)
        for name in STACKS:
            layer.keep_receipt(name, run_id=RUN, code=code, document={})

    def _deployed(
        self,
        facility: Facility,
        site: Site,
        generations: Mapping[HostName, str],
        segments: Mapping[HostName, Mapping[str, dict[str, Any]]],
    ) -> None:
        """Machines are on, and their disks and BMCs are as deploys leave them."""
        authority = asyncssh.read_private_key(str(self.state / "ca" / site.name / "ssh_host_ca"))
        users, found = ca.user_cas_public(self.state, site.name), site.machine_by_serial
        for host in site.active_hosts:
            stamp = Stamp(address=f"{site.name}/host/{host.name}", generation=generations[host.name])
            text = json.dumps({"facility": facility.name, "address": stamp.address, "generation": stamp.generation})
            key = asyncssh.generate_private_key("ssh-ed25519")
            address = str(found[host.machine].management_address)
            certificate = authority.generate_host_certificate(key, host.name, principals=[host.name, address])
            made = Disk(
                host=host.name,
                stamp=text,
                stamp_signature=ca.sign_stamp(self.state, site.name, text),
                host_key=SecretStr(key.export_private_key().decode()),
                host_certificate=certificate.export_certificate().decode(),
                user_ca_public=users,
                principals={SERVER_USER: (SERVER_PRINCIPAL,)},
                address_on={},
                segments=dict(segments.get(host.name, {})),
            )
            disk.save(self.machines, host.machine, made)
            bmc.save(self.machines, host.machine, bmc.BmcSettings(asset_tag=str(stamp)))
            machines.put_told(
                self.machines, host.machine, machines.Told(on=True, boots=1, source=bmc.BootSource.DISK.value)
            )

    def _played(self, facility: Facility, site: Site, store: Store, layer: Any) -> None:
        """Receipts of all roles hold, with manifests as the probe would have recorded them."""
        layer.make_secrets()
        now, hosts = datetime.now(UTC), {host.name: host for host in site.active_hosts}
        rows = [
            {
                "address": work.address,
                "run_id": RUN,
                "generation": "",
                "inputs_digest": work.digest,
                "observed_digest": "",
                "document": {MANIFEST: {"subjects": _left(hosts[name], work.role, share), "recorded": True}},
                "at": now,
            }
            for name, works in layer.pending().items()
            for work, share in zip(works, _shares(TASKS, len(works)), strict=True)
        ]
        with store.transaction() as connection:
            connection.execute(insert(receipts), rows)


def _segments(layer: SiteHardware) -> dict[HostName, dict[str, dict[str, Any]]]:
    """By switch and bridge, what the segments of the site are there."""
    found: dict[HostName, dict[str, dict[str, Any]]] = {}
    for each in layer.resources["network"]:
        if each.kind is not Kind.NETWORK:
            continue
        stamp = str(Stamp(address=each.address, generation=each.generation))
        for switch in each.inputs["switches"]:
            made = {"stamp": stamp, "ports": sorted(switch["ports"]), "up": True}
            found.setdefault(switch["host"], {})[each.inputs["bridge"]] = made
    return found


def subject_of(role: str, number: int) -> str:
    """Path of the file that a task of a role left."""
    return f"/etc/pachon-scale/{role}/{number}.conf"


def _left(host: Host, role: str, number: int) -> list[dict[str, Any]]:
    told = []
    for task in range(number):
        subject = {"kind": "file", "name": subject_of(role, task)}
        values = subjects.found(host.name, subject, ASPECTS, subjects.NO_DRIFT)
        told.append({**subject, "owner": f"Configure {task}", "aspects": ASPECTS, "values": values})
    return told


def _shares(whole: int, parts: int) -> Sequence[int]:
    return [whole // parts + (number < whole % parts) for number in range(parts)]
