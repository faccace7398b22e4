"""What each NIC and each port of the shipped lab is for: read from the definition alone."""

from collections import Counter

import pytest

from pachon.checks.hosts import EVERY_HOST
from pachon.definition import find, load
from pachon.hostvars import EVERY_HOST as PLAYED_ON_EVERY_HOST
from pachon.model.facility import Facility, Host
from pachon.model.hardware import MANAGEMENT, inputs_of, switch_ports, through_switches
from pachon.model.interfaces import Interface, Use, gateway_of, interfaces_of, own_nic
from tests.worlds import image


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


def named(lab: Facility, name: str) -> Host:
    return next(host for host in lab.hosts if host.name == name)


def nics(lab: Facility, name: str) -> dict[str, Interface]:
    host = named(lab, name)
    return {each.name: each for each in interfaces_of(lab, lab.site(host.site), host)}


def addresses(interface: Interface) -> list[str]:
    return [str(address) for address in interface.addresses]


def test_a_gateway_has_its_own_address_and_that_of_each_segment(lab: Facility) -> None:
    found = nics(lab, "base-gw01")
    assert [each.use for each in found.values()] == [Use.MANAGEMENT, *[Use.SEGMENT] * 4, Use.LINK]
    assert addresses(found["eth1"]) == ["198.18.10.13/24", "198.18.10.1/24"]
    assert [addresses(found[nic]) for nic in ("eth2", "eth3", "eth4")] == [
        ["198.18.20.1/24"],
        ["198.18.30.1/24"],
        ["198.18.40.1/24"],
    ]
    assert (found["eth5"].link, addresses(found["eth5"])) == ("base-archive", ["198.18.200.1/29"])
    assert addresses(nics(lab, "archive-gw01")["eth5"]) == ["198.18.200.2/29"]


def test_other_hosts_have_two_addresses_and_switches_one(lab: Facility) -> None:
    worker = nics(lab, "archive-batch01")
    assert [addresses(each) for each in worker.values()] == [["198.18.100.21/24"], ["198.18.130.11/24"]]
    switch = nics(lab, "archive-sw01")
    assert Counter(each.use for each in switch.values()) == {Use.MANAGEMENT: 1, Use.PORT: 32}


def test_every_segment_of_the_lab_has_one_gateway_and_every_host_a_nic_for_its_address(lab: Facility) -> None:
    for site in lab.sites:
        gateways = {gateway.name for each in site.segments if (gateway := gateway_of(site, each.enclave)) is not None}
        assert gateways == {f"{site.name}-gw01"}
        assert [host.name for host in site.active_hosts if not own_nic(lab, site, host)] == [f"{site.name}-sw01"]


def test_a_port_is_on_the_enclave_of_the_nic_at_its_cable_s_other_end(lab: Facility) -> None:
    ports = switch_ports(lab, lab.site("base"))
    assert ports["LB0001", "swp1"] == "provisioning"
    assert [ports["LB0001", f"swp{port}"] for port in (15, 16, 17)] == [
        "prompt-base",
        "offline-production",
        "archive-base",
    ]
    boots = [port for (_, port), on in ports.items() if on == MANAGEMENT]
    assert len(boots) == len(lab.site("base").machines)
    assert "swp32" in boots


def test_machines_of_the_lab_boot_through_its_switches_and_the_management_segment_is_a_network(lab: Facility) -> None:
    images = {host.flavour: image(host.flavour) for host in lab.hosts}
    for site in lab.sites:
        assert through_switches(lab, site)
        declared = {each.address: each.inputs for each in inputs_of(lab, site.name, images)["network"]}
        network = declared[f"{site.name}/network/management"]
        assert (network["bridge"], network["vni"], network["enclave"]) == ("br-mgmt", 0, "management")
        assert len(network["switches"][0]["ports"]) == len(site.machines)


def test_a_gateway_is_told_no_default_route_and_every_other_host_its_gateway_s(lab: Facility) -> None:
    images = {host.flavour: image(host.flavour) for host in lab.hosts}
    hosts = {each.address: each.inputs for each in inputs_of(lab, "base", images)["compute"]}
    gateway = hosts["base/host/base-gw01"]["nics"]
    assert gateway[1] == {
        "name": "eth1",
        "mac": "02:18:01:00:06:01",
        "address": "198.18.10.13",
        "prefix": 24,
        "also": "198.18.10.1",
    }
    assert [nic for nic in gateway if "gateway" in nic] == []
    assert gateway[0]["reply_gateway"] == "198.18.0.1"
    assert hosts["base/host/base-db01"]["nics"][1]["gateway"] == "198.18.20.1"


def test_people_without_enclaves_are_on_all_of_them(lab: Facility) -> None:
    enclaves = {person.name: person.enclaves for person in lab.people}
    assert enclaves["itahue"] == tuple(enclave.name for enclave in lab.enclaves)
    assert enclaves["quilla"] == ("offline-production",)


def test_names_kept_for_roles_of_every_host_are_those_that_the_inventory_makes_groups_of() -> None:
    assert set(PLAYED_ON_EVERY_HOST) == EVERY_HOST
