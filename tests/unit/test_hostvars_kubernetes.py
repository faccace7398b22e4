"""What hosts of a Kubernetes cluster are told, and that what their roles leave there is known."""

from pathlib import Path

import pytest
import yaml

from pachon import definition, hostvars
from pachon.layers.role_effects import leavings
from pachon.model.facility import Facility, Host
from pachon.places import CHECKOUT
from tests.e2e import making

NAME = "t-kube"
CONTROLLER, FIRST, SECOND = (making.host(NAME, number) for number in (2, 3, 4))
GROUPS = {CONTROLLER: "kubernetes_controller", FIRST: "kubernetes_worker", SECOND: "kubernetes_worker"}


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Facility:
    folder = tmp_path_factory.mktemp("kube") / "definition"
    making.cluster(folder, name=NAME, network="198.19.208")
    return definition.load(folder)


def host(facility: Facility, name: str) -> Host:
    return next(each for each in facility.hosts if each.name == name)


def told(facility: Facility, name: str, role: str) -> dict[str, object]:
    return hostvars.of_role(facility, host(facility, name), role)


def test_a_worker_more_tells_only_the_controller(facility: Facility) -> None:
    site = facility.site("here")
    fewer = facility.model_copy(
        update={
            "sites": (site.model_copy(update={"hosts": tuple(each for each in site.hosts if each.name != SECOND)}),)
        }
    )
    differing = [
        (each.name, role)
        for each in fewer.hosts
        for role in hostvars.roles_of(each)
        if hostvars.of_role(fewer, each, role) != hostvars.of_role(facility, each, role)
    ]
    assert differing == [(CONTROLLER, "kubernetes_controller")]


def test_workers_go_to_their_own_site_s_api_server(facility: Facility) -> None:
    address = host(facility, CONTROLLER).address
    assert told(facility, FIRST, "kubernetes_worker")["kubernetes_worker_api"] == f"https://{address}:6443"


def test_only_workers_pass_packets_of_pods_on(facility: Facility) -> None:
    assert told(facility, CONTROLLER, "firewall")["firewall_forward"] == []
    rules = told(facility, FIRST, "firewall")["firewall_forward"]
    assert isinstance(rules, list)
    assert [(rule["sources"], rule["targets"]) for rule in rules] == [
        (["10.244.0.0/16"], ["10.244.0.0/16"]),
        (["10.244.0.0/16"], ["198.19.210.0/24"]),
        (["198.19.210.0/24"], ["10.244.0.0/16"]),
    ]


@pytest.mark.parametrize("name", GROUPS)
def test_nothing_that_their_roles_leave_is_unknown(facility: Facility, name: str) -> None:
    made = leavings(GROUPS[name], told(facility, name, GROUPS[name]), baked=True)
    assert made.unknown == []
    assert all("{" not in each.name for each in made.subjects)
    assert {each.name for each in made.subjects} >= {"/etc/kubernetes/pki/trust.pem"}


@pytest.mark.parametrize("name", GROUPS)
def test_each_is_told_what_its_role_declares(facility: Facility, name: str) -> None:
    path = Path(CHECKOUT, "playbooks", "roles", GROUPS[name], "meta", "argument_specs.yml")
    options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    assert set(told(facility, name, GROUPS[name])) <= set(options)
