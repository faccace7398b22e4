"""Status of hosts, asked over real SSH on loopback, and what is made of the answers and of silence."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from pachon.definition import find, load
from pachon.drivers.redfish import Power
from pachon.drivers.run_file import Endpoint
from pachon.errors import PachonError
from pachon.model.facility import Facility, HostState
from pachon.model.instance import Instance
from pachon.places import CHECKOUT
from pachon.status import FacilityStatus, HostStatus, SiteStatus, folding
from pachon.status.asking import Heard, Told, ask, statuses, unasked
from pachon.store.database import open_store
from pachon.store.sightings import last_seen, saw

SMALL = CHECKOUT / "tests" / "cases" / "cli" / "small"
ADDRESS = "198.19.40.11"
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SILENT = PachonError("no answer")


@asynccontextmanager
async def host_that_answers(state: Path, principal: str, said: str) -> AsyncIterator[int]:
    """Port of an SSH server with a signed host key for that principal, trusted by the state folder."""
    host_ca, user_ca, host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(4))
    keys = state / "keys"
    keys.mkdir(parents=True)
    key.write_private_key(keys / "automation")
    user_ca.generate_user_certificate(key, "a", principals=["pachon"]).write_certificate(keys / "automation-cert.pub")
    (state / "known_hosts").write_text(f"@cert-authority * {host_ca.export_public_key().decode()}")

    async def answer(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(said)
        process.exit(0)

    trusted = f"cert-authority {user_ca.export_public_key().decode()}"
    certificate = host_ca.generate_host_certificate(host_key, "h", principals=[principal])
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[(host_key, certificate)],
        authorized_client_keys=asyncssh.import_authorized_keys(trusted),
        process_factory=answer,
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


def asked(state: Path, principal: str, said: str) -> tuple[HostStatus, ...]:
    """Hosts of the small facility, of which the first is answered for so."""
    facility = load(SMALL)

    async def observe() -> Heard:
        async with host_that_answers(state, principal, said) as port:
            detours = {ADDRESS: Endpoint(host="127.0.0.1", port=port)}
            return await ask(facility, facility.sites[0], state, detours=detours, seconds=60)

    return statuses(facility.sites[0], asyncio.run(observe()), known={}, seen={}, now=NOW)


def test_host_that_lets_us_in_is_up_since_its_first_process_began(tmp_path: Path) -> None:
    web01, web02 = asked(tmp_path, ADDRESS, "up  3600\n")
    assert (web01.condition, web01.up, web01.up_since) == ("up", True, NOW - timedelta(hours=1))
    assert web01.reached_by == "pachon host ssh web01"
    assert (web02.condition, web02.up, web02.reason, web02.right) == ("planned", False, "", True)


def test_host_with_a_failed_unit_is_degraded_and_names_it(tmp_path: Path) -> None:
    web01, _ = asked(tmp_path, ADDRESS, "up 5\nfailed slurmd.service\nhears one\nmisses two\n")
    assert (web01.condition, web01.up, web01.failed_units) == ("degraded", True, ("slurmd.service",))


def test_host_with_the_key_of_another_is_not_up(tmp_path: Path) -> None:
    web01, _ = asked(tmp_path, "198.19.40.99", "up 3600")
    assert not web01.up
    assert "has no host key that this facility has signed" in web01.reason


def test_host_that_answers_nonsense_is_not_up(tmp_path: Path) -> None:
    web01, _ = asked(tmp_path, ADDRESS, "what?")
    assert (web01.up, web01.reason) == (False, "it answers nonsense")


def test_host_that_takes_the_call_and_says_nothing_holds_nothing_up(tmp_path: Path) -> None:
    facility = load(SMALL)
    with socket.create_server(("127.0.0.1", 0)) as mute:

        async def observe() -> Heard:
            async with host_that_answers(tmp_path, ADDRESS, ""):
                detours = {ADDRESS: Endpoint(host="127.0.0.1", port=mute.getsockname()[1])}
                return await ask(facility, facility.sites[0], tmp_path, detours=detours, seconds=0.2)

        began = time.monotonic()
        heard = asyncio.run(observe())
    assert time.monotonic() - began < 60, "it waited for the host"
    web01, _ = statuses(facility.sites[0], heard, known={}, seen={}, now=NOW)
    assert (web01.condition, web01.reason) == ("unknown", "no answer within 0.2 s")


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


def hosts_of(lab: Facility, *silent: str, seen: dict[str, datetime] | None = None) -> list[HostStatus]:
    """All hosts of the lab, everybody up but for these hosts, and these sites with their BMCs."""
    found: list[HostStatus] = []
    for site in lab.sites:
        cut = site.name in silent
        told = {host.name: SILENT if cut or host.name in silent else Told(timedelta(1)) for host in site.active_hosts}
        power = {machine.serial: SILENT if cut else Power.ON for machine in site.machines}
        found += statuses(site, Heard(told, power), known={}, seen=seen or {}, now=NOW)
    return found


def site_status(lab: Facility, name: str, hosts: list[HostStatus], *, answered: bool = True) -> SiteStatus:
    own = tuple(host for host in hosts if host.site == name)
    return SiteStatus(
        name=name,
        title=lab.site(name).title,
        condition=folding.condition_of(own, answered=answered),
        since=NOW - timedelta(hours=2),
        boot_service="running",
        deploys={},
        hosts=own,
    )


def test_cut_site_is_unknown_as_one_thing_and_the_other_is_as_it_was(lab: Facility) -> None:
    hosts = hosts_of(lab, "archive", seen={"archive-adm01": NOW - timedelta(hours=2)})
    here, there = site_status(lab, "base", hosts), site_status(lab, "archive", hosts, answered=False)
    assert (here.condition, there.condition) == ("up", "unknown")
    assert {host.condition for host in there.hosts if host.defined is HostState.ACTIVE} == {"unknown"}
    assert next(host for host in there.hosts if host.name == "archive-adm01").seen_at == NOW - timedelta(hours=2)
    assert folding.troubles((here, there), condition="up") == (
        "site archive: unknown since 2026-11-28 10:00:00 UTC: nothing there answers",
    )


def test_dead_host_of_a_site_that_answers_is_down_and_so_is_its_service(lab: Facility) -> None:
    hosts = hosts_of(lab, "base-bctl01")
    here = site_status(lab, "base", hosts)
    assert here.condition == "degraded"
    assert folding.troubles((here,), condition="up") == ("host base-bctl01: no answer",)
    services = {(each.service, each.site): each for each in folding.services_of(lab, hosts, {}, ["batch-computing"])}
    assert services["batch-computing", "base"].condition == "down"
    assert services["batch-computing", "archive"].condition == "up"
    assert services["batch-computing", "archive"].hosts == ("archive-bctl01",)
    assert services["batch-computing", "base"].proven
    assert services["authentication", "base"].condition == "planned"


def test_a_service_has_the_versions_of_its_instances_or_else_the_one_of_its_place(lab: Facility) -> None:
    hosts = hosts_of(lab)
    there = {"service": "batch-computing", "enclave": "offline-production", "host": "base-bctl01", "arguments": {}}
    slots = tuple(
        Instance.model_validate({**there, "slot": slot, "version": version, "digest": "d"})
        for slot, version in (("a", "2"), ("b", "1"))
    )
    sites = tuple(each.model_copy(update={"instances": slots if each.name == "base" else ()}) for each in lab.sites)
    in_force = {("batch-computing", site, "offline-production"): "1" for site in ("base", "archive")}
    found = folding.services_of(lab.model_copy(update={"sites": sites}), hosts, {}, (), in_force=in_force)
    versions = {each.site: each.versions for each in found if each.service == "batch-computing"}
    assert versions == {"base": ("1", "2"), "archive": ("1",)}
    assert {each.versions for each in found if each.service != "batch-computing"} == {()}


def test_enclaves_count_their_active_hosts_at_each_site(lab: Facility) -> None:
    (production,) = [
        each for each in folding.enclaves_of(lab, hosts_of(lab, "base-batch01")) if each.name == "offline-production"
    ]
    here = production.segments[0]
    expected = [host for host in lab.site("base").active_hosts if host.enclave == "offline-production"]
    assert (here.site, here.up, here.total) == ("base", len(expected) - 1, len(expected))


def test_link_carries_as_gateways_hear_each_other(lab: Facility) -> None:
    def condition(heard: dict[str, bool]) -> str:
        return next(link.condition for link in folding.links_of(lab, heard) if link.name == "base-archive")

    assert (condition({"base-archive": True}), condition({"base-archive": False}), condition({})) == (
        "carries",
        "cut",
        "unknown",
    )


def test_people_come_through_the_nearest_bastion(lab: Facility) -> None:
    ways = {(way.site, way.who): way.command for way in folding.ways_in(lab, lab.sites)}
    bastion = next(host for host in lab.site("base").active_hosts if "bastion" in host.groups)
    address = lab.site("base").machine_by_serial[bastion.machine].management_address
    assert ways["base", "people"] == f"ssh -J PERSON@{address} PERSON@HOST"
    assert ways["archive", "automation"] == "pachon host ssh HOST"


def test_hosts_of_a_lab_that_is_down_are_down_and_not_asked(lab: Facility) -> None:
    site = lab.site("base")
    hosts = list(statuses(site, unasked(site, "the lab is down"), known={}, seen={}, now=NOW))
    assert {host.condition for host in hosts} == {"down", "planned"}
    assert folding.troubles((site_status(lab, "base", hosts),), condition="down") == ("the emulated hardware is down",)
    whole = FacilityStatus(
        facility="lab",
        definition="1 complaint",
        hardware="lab",
        condition="down",
        sites=(site_status(lab, "base", hosts),),
        enclaves=folding.enclaves_of(lab, hosts),
        services=folding.services_of(lab, hosts, {}, ()),
        links=folding.links_of(lab, {}),
        ways_in=folding.ways_in(lab, lab.sites),
        campaign={"name": "first"},
        degraded=("something",),
    )
    assert FacilityStatus.model_validate_json(whole.model_dump_json()) == whole


def test_when_a_host_was_last_seen_outlives_the_run(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    saw(store, {"a": NOW, "b": NOW})
    saw(store, {"b": NOW + timedelta(seconds=1)})
    store.close()
    again = open_store(tmp_path / "store.db")
    assert last_seen(again) == {"a": NOW, "b": NOW + timedelta(seconds=1)}
    again.close()
