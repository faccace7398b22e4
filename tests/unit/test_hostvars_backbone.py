"""What endpoints of the Data Backbone and members of the managed database are told."""

from typing import Any

import pytest

from pachon.definition import find, load
from pachon.hostvars import of_role, secrets_of
from pachon.model.facility import Facility, Host


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


def members(facility: Facility, group: str) -> list[Host]:
    return [host for host in facility.hosts if group in host.groups and host in facility.site(host.site).active_hosts]


def test_each_endpoint_knows_all_others_and_lets_all_in(lab: Facility) -> None:
    endpoints = members(lab, "xrootd")
    assert {host.site for host in endpoints} == {"base", "archive"}
    for host in endpoints:
        told = of_role(lab, host, "xrootd")
        assert told["xrootd_address"] == str(host.address)
        assert told["xrootd_peers"] == [
            {"name": other.name, "address": str(other.address)} for other in endpoints if other != host
        ]
        assert told["xrootd_admitted"] == [f"{each.name}.{lab.domain}" for each in endpoints]
        assert list(secrets_of(lab, host, "xrootd")) == [told["xrootd_secret"]]


def test_the_first_host_of_the_group_is_the_primary_and_all_others_follow_it(lab: Facility) -> None:
    primary, *replicas = members(lab, "postgresql")
    assert primary.site == "base"
    assert of_role(lab, primary, "postgresql")["postgresql_primary"] == ""
    for host in replicas:
        told = of_role(lab, host, "postgresql")
        assert told["postgresql_primary"] == str(primary.address)
        followers: Any = told["postgresql_replicas"]
        assert [each["address"] for each in followers] == [str(each.address) for each in replicas]


def test_all_members_let_in_the_same(lab: Facility) -> None:
    told: list[Any] = [of_role(lab, host, "postgresql")["postgresql_admitted"] for host in members(lab, "postgresql")]
    assert told[0] == told[1]
    assert len(told[0]) == len(told)
