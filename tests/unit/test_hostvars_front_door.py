"""What front doors and the Prometheus of each site of the lab are told, and what follows for names and certificates."""

from typing import Any

import pytest

from pachon import definition, hostvars
from pachon.checks import fronts
from pachon.hostvars import dns
from pachon.model.facility import Facility, Flow, Host, HostState
from pachon.model.probes import TcpProbe
from pachon.model.service import Endpoint, Front, Offer, ServiceState, Tier

LAB = definition.load(definition.find("lab"))
DEMO = Offer(
    title="Demo",
    tier=Tier.OPERATIONAL,
    state=ServiceState.DEPLOYABLE,
    endpoints=(
        Endpoint(name="https", port="tcp/443", front=Front(mode="http", port="tcp/8443", plain="")),
        Endpoint(name="data", port="tcp/1094", front=Front(mode="tcp", port="tcp/1095", plain="")),
    ),
    probes=(TcpProbe(name="data", endpoint="data"),),
)


def with_demo(offer: Offer = DEMO) -> Facility:
    """The lab with a service on the workers of base."""
    placed = next(each for each in LAB.placements if each.service == "batch-computing" and each.site == "base")
    demo = placed.model_copy(update={"service": "demo", "group": "slurm_compute", "offer": offer})
    way = Flow(
        source="provisioning", target="offline-production", ports=("tcp/1095", "tcp/8443"), reason="Demo.",
        source_groups=("front_door",),
    )  # fmt: skip
    return LAB.model_copy(update={"placements": (*LAB.placements, demo), "flows": (*LAB.flows, way)})


def told(group: str, role: str, facility: Facility = LAB, site: str = "base") -> dict[str, Any]:
    host = next(each for each in facility.site(site).active_hosts if group in each.groups)
    return dict(hostvars.of_role(facility, host, role))


def without(facility: Facility, group: str) -> Facility:
    """The facility with nobody in that group."""

    def less(host: Host) -> Host:
        return host.model_copy(update={"groups": tuple(each for each in host.groups if each != group)})

    sites = [site.model_copy(update={"hosts": tuple(map(less, site.hosts))}) for site in facility.sites]
    return facility.model_copy(update={"sites": tuple(sites)})


def test_a_front_door_passes_each_endpoint_on_to_the_active_hosts_that_carry_it() -> None:
    backends = {each["name"]: each for each in told("front_door", "front_door", with_demo())["front_door_backends"]}
    assert list(backends) == ["demo.data", "demo.https", "service-monitoring.https"]
    workers = [host.name for host in LAB.site("base").active_hosts if "slurm_compute" in host.groups]
    assert [server["name"] for server in backends["demo.https"]["servers"]] == workers
    assert {server["port"] for server in backends["demo.https"]["servers"]} == {8443}
    assert backends["demo.https"]["names"] == ["demo.base.lab.pachon.test"]
    assert (backends["demo.data"]["mode"], backends["demo.data"]["port"], backends["demo.data"]["names"]) == (
        "tcp",
        1094,
        [],
    )
    other = told("front_door", "front_door", with_demo(), "archive")
    assert [each["name"] for each in other["front_door_backends"]] == [
        "data-access-apis.https",
        "service-monitoring.https",
    ]


def test_a_backend_is_checked_as_its_contract_says() -> None:
    (backend,) = told("front_door", "front_door")["front_door_backends"]
    assert (backend["check_path"], backend["check_status"]) == ("/-/healthy", 200)


def test_the_landing_page_is_that_of_the_site_s_prometheus() -> None:
    assert told("front_door", "front_door")["front_door_landing"] == "service-monitoring.https"
    assert told("front_door", "front_door")["front_door_services"] == told("metrics", "metrics")["metrics_services"]


def test_the_landing_page_says_what_is_measured_and_why_the_rest_is_not() -> None:
    rows = {row["name"]: row for row in told("metrics", "metrics")["metrics_services"]}
    assert set(rows) == {each.service for each in LAB.placements if each.site == "base"}
    assert rows["batch-computing"]["measured"]
    assert rows["central-logging"]["unmeasured"] == "only declared"
    assert rows["network-security"]["unmeasured"] == "no endpoint to try"
    assert next(row["tier"] for row in told("metrics", "metrics")["metrics_services"]) == "real-time"


def test_endpoints_with_a_contract_are_tried_and_what_is_passed_on_is_tried_as_users_see_it() -> None:
    probes = {
        (each["service"], each["endpoint"]): each for each in told("metrics", "metrics", with_demo())["metrics_probes"]
    }
    controller = next(host for host in LAB.site("base").active_hosts if "slurm_controller" in host.groups)
    door = next(host for host in LAB.site("base").active_hosts if "front_door" in host.groups)
    assert probes["batch-computing", "scheduler"]["target"] == f"{controller.address}:6817"
    assert probes["service-monitoring", "https"]["target"] == f"https://{door.address}:443/-/healthy"
    assert probes["service-monitoring", "https"]["hostname"] == "service-monitoring.base.lab.pachon.test"
    assert probes["demo", "data"]["target"] == f"{door.address}:1094"
    assert ("demo", "https") not in probes, "it has no contract"


def test_every_kind_of_probe_that_is_used_is_told() -> None:
    arguments = told("metrics", "metrics")
    assert {each["module"] for each in arguments["metrics_probes"]} == {
        module["name"] for module in arguments["metrics_modules"]
    }


def test_names_of_what_is_passed_on_lead_to_the_front_door_and_stand_in_its_certificate() -> None:
    door = next(host for host in LAB.site("base").active_hosts if "front_door" in host.groups)
    (record,) = (line.split() for line in dns.records(with_demo()) if line.startswith(f"{door.address} "))
    names = {"demo.base.lab.pachon.test", "service-monitoring.base.lab.pachon.test", "front-door.base.lab.pachon.test"}
    assert names <= set(record)
    assert names <= set(told("front_door", "certificates", with_demo())["certificates_other_names"])
    assert told("front_door", "certificates")["certificates_units"][-1] == "haproxy.service"


def test_people_outside_reach_the_front_door_by_name_only() -> None:
    rules = [rule for rule in told("front_door", "firewall", with_demo())["firewall_input"] if rule["ports"] == [443]]
    assert [rule["network"] for rule in rules if rule["not_sources"] == [str(LAB.prefix)]] == ["management"]


def test_one_worker_more_changes_nothing_for_front_doors_and_measures() -> None:
    """It changes name servers, which are two; here they are the hosts of Prometheus as well."""

    def grown(host: Host) -> Host:
        return host.model_copy(update={"state": HostState.ACTIVE}) if host.name == "base-batch03" else host

    sites = [site.model_copy(update={"hosts": tuple(map(grown, site.hosts))}) for site in LAB.sites]
    more = LAB.model_copy(update={"sites": tuple(sites)})
    assert len(more.site("base").active_hosts) == len(LAB.site("base").active_hosts) + 1
    assert told("metrics", "metrics", more) == told("metrics", "metrics")
    assert told("front_door", "front_door", more) == told("front_door", "front_door")


def on_port(port: str) -> Offer:
    """The demo with connections taken on that port."""
    return DEMO.model_copy(update={"endpoints": (DEMO.endpoints[1].model_copy(update={"port": port}),)})


def notes(facility: Facility) -> list[str]:
    return [str(note) for note in (*fronts.fronts(facility), *fronts.measures(facility))]


def test_the_lab_as_it_is_has_no_complaint() -> None:
    assert notes(LAB) == []
    assert notes(with_demo()) == []


@pytest.mark.parametrize(
    ("facility", "words"),
    [
        (without(LAB, "front_door"), "no active host of base is one"),
        (LAB.model_copy(update={"flows": ()}), "has no way to tcp/6817 of base-bctl01"),
        (with_demo().model_copy(update={"flows": LAB.flows}), "no way to tcp/1095 of base-batch02, for data of demo"),
        (with_demo(on_port("tcp/443")), "both answered on port 443"),
        (with_demo(on_port("tcp/22")), "which is that of sshd"),
    ],
)  # fmt: skip
def test_what_no_front_door_or_prometheus_could_do_is_complained_of(facility: Facility, words: str) -> None:
    assert any(words in note for note in notes(facility)), notes(facility)
