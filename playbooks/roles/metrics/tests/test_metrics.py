# ruff: noqa: D103  a test says in its name what would be broken
"""What the Prometheus of a site must show."""

import json
import time
from typing import Any

import pytest
from testinfra.host import Host

PATIENCE_SECONDS = 120
ASK = """
import http.client, socket, ssl, sys
trust = ssl.create_default_context(cafile="/etc/pachon/pki/trust.pem")
if sys.argv[1] == "known":
    trust.load_cert_chain("/etc/pachon/pki/host.crt", "/etc/pachon/pki/host.key")
link = http.client.HTTPSConnection(socket.gethostname(), 9090, timeout=30, context=trust)
link.request("GET", sys.argv[2])
answer = link.getresponse()
print(answer.read().decode())
"""


def ask(host: Host, path: str) -> str:
    """What Prometheus answers to a host of the facility."""
    said = host.run("sudo -n python3 -c %s known %s", ASK, path)
    assert said.rc == 0, said.stderr
    return str(said.stdout)


def targets(host: Host) -> dict[tuple[str, str], str]:
    """How each target is, by job and address."""
    told = json.loads(ask(host, "/api/v1/targets?state=active"))["data"]["activeTargets"]
    return {
        (each["labels"]["job"], each["labels"]["instance"]): f"{each['health']} {each['lastError']}" for each in told
    }


@pytest.mark.parametrize("unit", ["prometheus", "prometheus-blackbox-exporter"])
def test_it_runs_and_starts_again_by_itself(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl show %s -p Restart --value", unit) == "always"


def test_it_tells_hosts_of_the_facility_and_nobody_else(host: Host) -> None:
    assert "Healthy" in ask(host, "/-/healthy")
    assert host.run("sudo -n python3 -c %s stranger /-/healthy", ASK).rc != 0


def test_probes_are_carried_out_for_this_host_only(host: Host) -> None:
    assert host.socket("tcp://127.0.0.1:9115").is_listening
    assert not host.socket("tcp://0.0.0.0:9115").is_listening


def test_it_asks_whom_it_was_told_to_and_all_of_them_answer(host: Host, arguments: dict[str, Any]) -> None:
    wanted = {("probes", each["target"]) for each in arguments["metrics_probes"]}
    wanted |= {("front_doors", each["address"]) for each in arguments["metrics_front_doors"]}
    wanted |= {("nodes", each["address"]) for each in arguments["metrics_nodes"]}
    end = time.monotonic() + PATIENCE_SECONDS
    found = targets(host)
    while set(found.values()) != {"up "} and time.monotonic() < end:
        time.sleep(1)
        found = targets(host)
    assert set(found) == wanted
    assert {target: how for target, how in found.items() if how != "up "} == {}


def test_the_landing_page_has_every_service(host: Host, arguments: dict[str, Any]) -> None:
    page = ask(host, "/consoles/index.html")
    assert arguments["metrics_title"] in page
    assert page.count("<tr>") == 1 + len(arguments["metrics_services"])
    assert "error executing template" not in page
