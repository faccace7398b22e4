"""The facilities that ship: free of complaints, of the size that they claim, and within the isolation rules."""

from collections import Counter
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from pachon.definition import examine, find, load
from pachon.model.facility import Facility, Hardware, HostState
from tests.e2e import making


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


@pytest.fixture(scope="module")
def rubin() -> Facility:
    return load(find("rubin"))


@pytest.mark.parametrize("name", ["lab", "rubin"])
def test_shipped_facility_has_neither_complaints_nor_warnings(name: str) -> None:
    examined = examine(find(name))
    assert ([*map(str, examined.complaints)], [*map(str, examined.warnings)]) == ([], [])


def test_lab_fits_one_machine(lab: Facility) -> None:
    assert lab.hardware is Hardware.LAB
    assert [site.name for site in lab.sites] == ["base", "archive"]
    assert len(lab.machines) <= 30
    assert {machine.model for machine in lab.machines} == {"container", "firmware"}
    active = [host for host in lab.hosts if host.state is HostState.ACTIVE]
    models = Counter(lab.site(host.site).machine_by_serial[host.machine].model for host in active)
    assert models["firmware"] >= 1
    assert sum(lab.site(host.site).machine_by_serial[host.machine].memory_mib for host in active) <= 10240


def test_lab_leaves_machines_free_for_growth(lab: Facility) -> None:
    for site in lab.sites:
        used = {host.machine for host in site.hosts}
        assert [machine for machine in site.machines if machine.serial not in used]


def test_a_third_site_is_made_of_the_second_one_s_files_alone(tmp_path: Path) -> None:
    folder = making.copy_of_lab(tmp_path / "x", name="x", network="198.19.96", blocks=making.THREE_SITES_BLOCKS)
    making.third_site(folder)
    examined = examine(folder)
    assert ([*map(str, examined.complaints)], [*map(str, examined.warnings)]) == ([], [])
    assert examined.facility is not None
    second, third = examined.facility.sites[1:]
    assert (third.name, len(third.active_hosts)) == ("third", len(second.active_hosts))
    assert {item.service for item in examined.facility.placements if item.site == "third"} >= {"batch-computing"}


def test_three_sites_can_be_as_small_as_tests_bring_them_up(tmp_path: Path) -> None:
    folder = making.copy_of_lab(tmp_path / "x", name="x", network="198.19.96", blocks=making.THREE_SITES_BLOCKS)
    making.keep_hosts(folder, making.WITHOUT_STORAGE)
    making.third_site(folder)
    examined = examine(folder)
    assert ([*map(str, examined.complaints)], [*map(str, examined.warnings)]) == ([], [])
    assert examined.facility is not None
    active = {site.name: {host.name for host in site.active_hosts} for site in examined.facility.sites}
    of_archive = {*making.WITHOUT_STORAGE["archive"]}
    assert active == {
        "base": {*making.WITHOUT_STORAGE["base"]},
        "archive": of_archive,
        "third": {name.replace("archive", "third") for name in of_archive},
    }


def test_rubin_has_the_machines_and_drives_of_the_high_water_marks(rubin: Facility) -> None:
    kinds = Counter((machine.site, machine.serial[1:3]) for machine in rubin.machines)
    assert (kinds["archive", "CP"], kinds["base", "CP"]) == (1200, 115)
    assert (kinds["archive", "DB"], kinds["base", "DB"]) == (360, 340)
    drives = Counter(
        (machine.site, machine.serial[1:3])
        for machine in rubin.machines
        for disk in machine.disks
        if disk.media in ("hdd", "ssd")
    )
    assert drives == {("archive", "ST"): 1700, ("base", "ST"): 1140, ("archive", "DB"): 3000, ("base", "DB"): 2200}
    assert drives.total() == 8040


def test_every_compute_and_database_machine_of_rubin_carries_a_host(rubin: Facility) -> None:
    used = {host.machine for host in rubin.hosts}
    placed = [machine.serial for machine in rubin.machines if machine.serial[1:3] in ("CP", "DB")]
    assert len(placed) == 2015
    assert not set(placed) - used


def test_rubin_is_real_hardware_in_private_addresses(rubin: Facility) -> None:
    assert rubin.hardware is Hardware.RACKS
    assert rubin.prefix.subnet_of(IPv4Network("10.0.0.0/8"))
    assert [site.name for site in rubin.sites] == ["summit", "base", "archive"]


def flows(facility: Facility) -> set[tuple[str, str, str]]:
    return {(flow.source, flow.target, port) for flow in facility.flows for port in flow.ports}


@pytest.mark.parametrize("name", ["lab", "rubin"])
def test_admin_paths_come_from_provisioning_only(name: str, request: pytest.FixtureRequest) -> None:
    ways = flows(request.getfixturevalue(name))
    assert {source for source, _, port in ways if port == "tcp/22"} == {"provisioning"}


def test_users_of_data_access_reach_the_data_backbone_read_only(rubin: Facility) -> None:
    ends = {"archive-base", "archive-us"}
    outside = {"us-dac", "chilean-dac", "development", "commissioning"}
    ways = {(source, port) for source, target, port in flows(rubin) if target in ends and source in outside}
    assert {port for _, port in ways} == {"tcp/1095"}


def test_the_telemetry_gateway_is_the_only_way_for_data_into_critical_observing(rubin: Facility) -> None:
    ports = {port for _, target, port in flows(rubin) if target == "critical-observing"}
    assert ports == {"tcp/22", "tcp/8443"}
    gateway = [item for item in rubin.placements if item.service == "telemetry-gateway"]
    assert {item.enclave for item in gateway} == {"critical-observing"}


def test_no_site_needs_another_one_for_identities_logs_and_provisioning(rubin: Facility) -> None:
    placed = {(item.service, item.site) for item in rubin.placements}
    for service in ("authentication", "central-logging", "provisioning", "service-monitoring"):
        assert {(service, site.name) for site in rubin.sites} <= placed
