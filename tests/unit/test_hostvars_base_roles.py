"""What hosts of the lab are told of people, names, time, logs and certificates."""

from ipaddress import IPv4Network
from typing import Any

import pytest

from pachon import definition, hostvars
from pachon.hostvars import dns, reaching
from pachon.model.facility import Facility, Hardware, Host, HostState

LAB = definition.load(definition.find("lab"))
ACTIVE = [host for host in LAB.hosts if host.state is HostState.ACTIVE]


def host(name: str) -> Host:
    return next(each for each in LAB.hosts if each.name == name)


def told(name: str, role: str, facility: Facility = LAB) -> dict[str, Any]:
    return dict(hostvars.of_role(facility, host(name), role))


def address(name: str) -> str:
    return str(host(name).address)


def test_people_have_accounts_in_their_enclaves_and_on_bastions_and_sudo_only_where_their_rule_is() -> None:
    def rules(name: str) -> dict[str, list[str]]:
        return {each["name"]: each["sudo"] for each in told(name, "people")["people_accounts"]}

    everybody = {person.name for person in LAB.people}
    assert set(rules("base-bast01")) == everybody
    assert rules("base-bast01")["quilla"] == []
    assert set(rules("base-bctl01")) == {"itahue", "quilla"}
    assert rules("base-bctl01")["quilla"] == ["/usr/bin/systemctl restart slurmd", "/usr/bin/journalctl -u slurmd"]
    assert set(rules("base-adm01")) == {"itahue"}


def test_people_come_to_bastions_from_anywhere_and_elsewhere_from_bastions_and_admin_hosts_only() -> None:
    assert told("base-bast01", "people")["people_from"] == ["*"]
    sources = set(told("base-bctl01", "people")["people_from"])
    assert {address("base-bast01"), address("base-adm01"), address("archive-gw01")} <= sources
    assert address("base-stor01") not in sources
    bastion = LAB.site("base").machine_by_serial[host("base-bast01").machine]
    assert str(bastion.management_address) not in sources


def test_a_bastion_that_is_a_gateway_comes_from_each_of_its_addresses() -> None:
    sources = set(told("archive-bctl01", "people")["people_from"])
    segment = LAB.site("archive").segment("offline-production")
    assert segment is not None and str(segment.gateway) in sources


def test_automation_comes_from_controllers_only() -> None:
    site = LAB.site("archive")
    sources = told("archive-bctl01", "people")["people_automation_from"]
    assert sources[:2] == [str(site.management_gateway), str(site.boot_address)]
    assert address("archive-adm01") in sources
    assert address("archive-gw01") not in sources


def test_a_host_asks_its_own_site_first_and_the_other_when_that_is_away() -> None:
    servers = told("archive-bctl01", "resolver")["resolver_name_servers"]
    assert servers == [address("archive-adm01"), address("base-adm01")]
    assert told("archive-bctl01", "time_client")["time_client_servers"] == [
        "archive-adm01.lab.pachon.test",
        "base-adm01.lab.pachon.test",
    ]
    assert told("archive-bctl01", "log_client") == {"log_client_url": "https://archive-adm01.lab.pachon.test:19532"}


def test_a_host_without_an_address_on_its_segment_asks_on_the_management_segment() -> None:
    site = LAB.site("base")
    management = str(site.machine_by_serial[host("base-adm01").machine].management_address)
    assert told("base-sw01", "resolver")["resolver_name_servers"] == [management]
    assert told("base-sw01", "log_client") == {"log_client_url": "https://base-adm01.mgmt.lab.pachon.test:19532"}


def test_time_servers_ask_those_of_other_sites() -> None:
    assert told("base-adm01", "time_client")["time_client_servers"] == ["archive-adm01.lab.pachon.test"]
    alone = LAB.model_copy(update={"sites": (LAB.site("base"),)})
    assert told("base-adm01", "time_client", alone) == {
        "time_client_running": True,
        "time_client_servers": [],
        "time_client_sets_clock": False,
    }


@pytest.mark.parametrize(("hardware", "sets"), [(Hardware.LAB, False), (Hardware.RACKS, True)])
def test_no_clock_of_a_lab_is_ever_set(hardware: Hardware, sets: bool) -> None:
    facility = LAB.model_copy(update={"hardware": hardware})
    assert {told(each.name, "time_client", facility)["time_client_sets_clock"] for each in ACTIVE} == {sets}


def test_every_host_of_all_sites_has_a_name_and_every_address_one_name_back() -> None:
    records = [line.split() for line in dns.records(LAB)]
    named = {name: where for where, *names in records for name in names}
    for each in ACTIVE:
        own = address(each.name) if reaching.on_segment(LAB, each) else reaching.management_address(LAB, each)
        assert named[f"{each.name}.lab.pachon.test"] == own
        assert named[f"{each.name}.mgmt.lab.pachon.test"] == reaching.management_address(LAB, each)
    addresses = [where for where, *_ in records]
    assert len(addresses) == len(set(addresses))
    assert named["dns.base.lab.pachon.test"] == address("base-adm01")
    assert named["slurm-controller.archive.lab.pachon.test"] == address("archive-bctl01")


@pytest.mark.parametrize(
    ("prefix", "zones"),
    [
        ("198.18.0.0/16", ["18.198.in-addr.arpa"]),
        ("10.0.0.0/8", ["10.in-addr.arpa"]),
        ("198.18.4.0/23", ["4.18.198.in-addr.arpa", "5.18.198.in-addr.arpa"]),
        ("198.18.4.64/26", ["4.18.198.in-addr.arpa"]),
    ],
)
def test_reverse_zones_make_up_the_prefix(prefix: str, zones: list[str]) -> None:
    assert dns.reverse_zones(IPv4Network(prefix)) == zones


def test_a_bastion_hands_on_to_every_host_but_itself_under_each_name() -> None:
    targets = told("base-bast01", "bastion")["bastion_targets"]
    assert {"base-bctl01", "base-bctl01.lab.pachon.test", address("base-bctl01"), "archive-bctl01"} <= set(targets)
    assert "base-bast01" not in targets
    planned = [each.name for site in LAB.sites for each in site.hosts if each not in site.active_hosts]
    assert planned and set(planned) <= set(targets), "a host that comes to stand would have all bastions played"


def test_a_certificate_names_every_address_that_the_host_answers_on() -> None:
    subject = told("archive-gw01", "certificates")
    gateways = {str(LAB.site("archive").segment(nic.enclave).gateway) for nic in host("archive-gw01").nics}  # type: ignore[union-attr]  # the definition was checked
    assert gateways <= set(subject["certificates_addresses"])
    assert subject["certificates_sites"] == ["base", "archive"]
    assert "systemd-journal-remote.service" in told("base-adm01", "certificates")["certificates_units"]
