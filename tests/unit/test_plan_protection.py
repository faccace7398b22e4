"""What hosts lose with their roles is protected as what goes with hosts: quorum and last copy have to be named."""

from collections.abc import Collection

import pytest

from pachon.errors import RefusedError
from pachon.model.facility import Facility, Placement
from pachon.model.hardware import STACKS, inputs_of
from pachon.plan.approval import refuse_unapproved
from pachon.plan.document import Action, Plan
from pachon.plan.making import Basis, Findings, Made, definition_of, plan_of
from tests.worlds import facility, images, without_hosts

HOSTS = ("base-h001", "base-h002", "base-h003")


def in_group(group: str, names: Collection[str], *, placed: bool = False) -> Facility:
    """Three hosts, of which these are in the group; ``placed``: and a service on them."""
    whole = facility(hosts=3)
    site = whole.sites[0]
    hosts = tuple(host.model_copy(update={"groups": (group,) if host.name in names else ()}) for host in site.hosts)
    service = Placement(service="names", site="base", enclave="batch", group=group)
    return whole.model_copy(
        update={"sites": (site.model_copy(update={"hosts": hosts}),), "placements": (service,) if placed else ()}
    )


def losing(before: Facility, after: Facility, group: str, names: Collection[str]) -> Plan:
    """The plan of a look that sees what the role left on these hosts; of others' hosts what goes is hardware's."""
    declared = inputs_of(before, "base", images(1))
    made = [Made(address=each.address, inputs=dict(each.inputs)) for stack in STACKS for each in declared[stack]]
    told = [
        Action(
            site="base",
            layer="hosts",
            stack="hosts",
            address=f"base/host/{name}/role/{group}",
            verb="delete",
            reason="r",
        )
        for name in names
    ]
    told += [
        Action(
            site="base", layer="hardware", stack="compute", address=f"base/host/{host.name}", verb="delete", reason="r"
        )
        for host in before.hosts
        if host.name not in {other.name for other in after.hosts}
    ]
    findings = Findings(site="base", actions=tuple(told), made=tuple(made))
    return plan_of(after, [findings], Basis(definition=definition_of(after), code={}))


@pytest.mark.parametrize("placed", [True, False])
def test_the_last_host_of_a_role_does_not_lose_it_unless_that_is_named(placed: bool) -> None:
    address = "base/service/names" if placed else "base/role/dns"
    before, after = in_group("dns", HOSTS[:2], placed=placed), in_group("dns", [], placed=placed)
    made = losing(before, after, "dns", HOSTS[:2])
    (found,) = made.protections
    assert (found.address, found.loses) == (address, "last copy")
    assert found.by == tuple(f"base/host/{name}/role/dns" for name in HOSTS[:2])
    with pytest.raises(RefusedError, match="last copy"):
        refuse_unapproved(made, ["base/*"], command="pachon up")
    refuse_unapproved(made, [address], command="pachon up")
    assert losing(before, in_group("dns", HOSTS[1:2], placed=placed), "dns", HOSTS[:1]).protections == ()


def test_what_is_left_to_be_removed_after_a_kill_is_protected_though_the_host_has_left_the_group() -> None:
    after = in_group("dns", [])
    (found,) = losing(after, after, "dns", HOSTS[:1]).protections
    assert found.address == "base/role/dns"


def test_what_a_role_left_that_its_host_keeps_is_no_loss() -> None:
    whole = in_group("dns", HOSTS[:1])
    assert losing(whole, whole, "dns", HOSTS[:1]).protections == ()
    assert losing(whole, whole, "base", HOSTS).protections == ()


def test_hosts_that_go_and_hosts_that_lose_the_role_lose_the_majority_together() -> None:
    before = in_group("etcd", HOSTS)
    after = without_hosts(in_group("etcd", HOSTS[1:2]), HOSTS[2])
    made = losing(before, after, "etcd", HOSTS[:1])
    (found,) = made.protections
    assert (found.address, found.loses) == ("base/quorum/batch/etcd", "quorum")
    assert found.by == ("base/host/base-h001/role/etcd", "base/host/base-h003")
    assert found.why == "1 of 3 etcd hosts of batch would be left, 2 are a majority"
