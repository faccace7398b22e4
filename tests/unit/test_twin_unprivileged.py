"""The twin needs no right at all: it comes up for a user that owns nothing, at full size, and goes again.

Run by root the child becomes user 65534 (if that may read the checkout); run by anybody else it stays who it is.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from infra.lab.twin import instance, programs
from infra.lab.twin.addresses import loopback
from infra.lab.twin.disk import Disk
from pachon.model.facility import Disk as Drive
from pachon.model.facility import Facility, Machine, Nic, Site
from pachon.progress import silent

NOBODY = 65534
CHILD = """
import asyncio, json, os, sys, time
from pathlib import Path
from pydantic import SecretStr
from infra.lab.twin import instance
from pachon.drivers.redfish import Bmc, Endpoint, Power
from pachon.model.facility import Facility
from pachon.progress import silent

async def main(definition, state):
    facility = Facility.model_validate_json(definition.read_bytes())
    began = time.monotonic()
    await instance.up(facility, state=state, progress=silent)
    seconds = time.monotonic() - began
    last = facility.machines[-1]
    door = instance.endpoints(state)[str(last.bmc_address)]
    password = SecretStr((state / "secrets" / "bmc-base").read_text())
    async with Bmc(Endpoint(door.host, door.port), "pachon", password, tls_sha256="", serial=last.serial) as bmc:
        await bmc.set_power(Power.ON)
        found = await bmc.inspect()
    status = await instance.status(facility.name, state=state)
    on = [each.serial for each in status.machines if each.on]
    await instance.down(facility.name, state=state, progress=silent)
    told = {"uid": os.geteuid(), "serial": found.serial, "on": on, "machines": len(status.machines), "seconds": seconds}
    told["left"] = [str(path) for path in (state / "lab").rglob("*")]
    sys.stdout.write(json.dumps(told))

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def machine(number: int) -> Machine:
    return Machine(
        serial=f"TWU{number:04}",
        site="base",
        rack=f"r{number // 40}",
        unit=number % 40 + 1,
        vendor="pachon",
        model="container",
        cpus=2,
        memory_mib=1024,
        bmc_address=IPv4Address("198.19.80.0") + number,
        management_address=IPv4Address("198.19.88.0") + number,
        bmc_tls_sha256="",
        nics=(Nic(name="eth0", mac=f"02:71:00:00:{number >> 8:02x}:{number & 255:02x}", speed_gbps=10),),
        disks=(Drive(name="vda", serial=f"TU{number}", media="ssd", size_gib=4),),
    )


def facility(name: str, number: int) -> Facility:
    site = {
        "name": "base",
        "title": "Base",
        "time_zone": "America/Santiago",
        "management": "198.19.88.0/21",
        "bmc_network": "198.19.80.0/21",
        "boot_address": "198.19.95.254",
        "machines": tuple(machine(each) for each in range(1, number + 1)),
        **dict.fromkeys(("unmanaged_switches", "cables", "segments", "hosts", "storage_pools", "volumes"), ()),
        "deploy": {},
    }
    return Facility.model_validate(
        {
            "name": name,
            "title": "Twin test",
            "domain": "twin.test",
            "hardware": "lab",
            "prefix": "198.19.80.0/20",
            "sites": (Site.model_validate(site),),
            **dict.fromkeys(("enclaves", "flows", "links", "placements"), ()),
        }
    )


@pytest.fixture
def top() -> Iterator[Path]:
    # Not pytest's own folder: nobody else may enter that.
    path = Path(tempfile.mkdtemp(prefix="pachon-twin-"))
    yield path
    shutil.rmtree(path)


def wait_until_gone(state: Path) -> None:
    end = time.monotonic() + 30
    while instance.is_up(state) and time.monotonic() < end:
        time.sleep(0.05)


def becomes_nobody() -> dict[str, object]:
    """What makes a child of root's an unprivileged user; nothing where that user may not read the checkout."""
    user: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    probe = [sys.executable, "-c", "import infra.lab.twin.instance"]
    try:
        seen = subprocess.run(probe, cwd="/", capture_output=True, check=False, **user)  # type: ignore[call-overload]  # keywords of Popen
    except PermissionError:
        return {}
    return user if seen.returncode == 0 else {}


def test_2015_twin_machines_come_up_without_any_right(top: Path) -> None:
    definition = top / "facility.json"
    definition.write_text(facility("t-twinuser", 2015).model_dump_json())
    user = becomes_nobody()
    if user:
        for path in (top, definition):
            os.chown(path, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(definition), str(top / "s")],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": str(top)},
        timeout=120,
        check=False,
        **user,  # type: ignore[call-overload]  # keywords of Popen
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["uid"] == (NOBODY if user else os.geteuid())
    assert told["serial"] == "TWU2015"
    assert told["on"] == ["TWU2015"]
    assert told["machines"] == 2015
    assert told["left"] == []


def test_two_twins_stand_side_by_side_on_ports_of_their_own(top: Path) -> None:
    async def script() -> None:
        one, other = facility("t-twina", 1), facility("t-twinb", 1)
        try:
            await asyncio.gather(
                instance.up(one, state=top / "a", progress=silent),
                instance.up(other, state=top / "b", progress=silent),
            )
            doors = [instance.endpoints(top / name)["198.19.80.1"] for name in ("a", "b")]
            assert doors[0].host == doors[1].host == "127.19.80.1"
            assert doors[0].port != doors[1].port
        finally:
            await instance.down("t-twina", state=top / "a", progress=silent)
            await instance.down("t-twinb", state=top / "b", progress=silent)

    asyncio.run(script())


def test_a_killed_twin_is_seen_as_down_and_taken_down(top: Path) -> None:
    async def script() -> None:
        made = facility("t-twinc", 1)
        await instance.up(made, state=top / "s", progress=silent)
        (pid,) = {each.bmc_pid for each in (await instance.status("t-twinc", state=top / "s")).sites}
        assert pid is not None
        os.kill(pid, 9)
        await asyncio.to_thread(wait_until_gone, top / "s")
        status = await instance.status("t-twinc", state=top / "s")
        assert not status.up
        assert status.problems
        await instance.down("t-twinc", state=top / "s", progress=silent)
        assert not (top / "s" / "lab").exists()

    asyncio.run(script())


@pytest.mark.parametrize(
    ("address", "mapped"),
    [("198.18.3.7", "127.18.3.7"), ("198.19.0.1", "127.19.0.1"), ("10.96.1.2", "127.96.1.2")],
)
def test_every_address_has_a_place_on_loopback(address: str, mapped: str) -> None:
    assert loopback(IPv4Address(address)) == IPv4Address(mapped)


def test_addresses_that_are_as_wanted_change_nothing() -> None:
    nic = {"name": "eth0", "address": "198.19.88.1", "prefix": 21, "gateway": None, "reply_gateway": None}
    disk = Disk(
        host="h",
        stamp="{}",
        stamp_signature="",
        host_key="k",  # type: ignore[arg-type]  # taken as a secret
        host_certificate="",
        user_ca_public="",
        principals={},
        address_on={"02:71:00:00:00:01": nic},
    )
    _, same = programs.answer(disk, machine(1), {"nics": [{"mac": "02:71:00:00:00:01", **nic}], "fencing_token": 1})
    assert same == {"changed": []}
    after, moved = programs.answer(disk, machine(1), {"nics": [{**nic, "address": "198.19.88.9"}]})
    assert moved == {"changed": ["eth0"]}
    assert after.nics["eth0"]["address"] == "198.19.88.9"
    with pytest.raises(programs.NotKnownError):
        programs.answer(disk, machine(1), {"unheard": "of"})
