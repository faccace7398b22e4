# ruff: noqa: D103  a test says in its name what would be broken
"""What a front door must show."""

from typing import Any

import pytest
from testinfra.host import Host

TELL = """
import socket
link = socket.socket(socket.AF_UNIX)
link.connect("/run/haproxy/admin.sock")
link.sendall(b"show servers state\\n")
for line in b"".join(iter(lambda: link.recv(65536), b"")).decode().splitlines():
    fields = line.split()
    if len(fields) > 18 and fields[0] != "#":
        print(f"{fields[1]}/{fields[3]} {fields[4]}:{fields[18]}")
"""
ASK = """
import http.client, socket, ssl, sys
port, name, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
trust = ssl.create_default_context(cafile="/etc/pachon/pki/trust.pem")
link = http.client.HTTPConnection(name)
link.sock = trust.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname=name)
link.request("GET", path)
answer = link.getresponse()
print(answer.status, answer.read().decode())
"""


def ask(host: Host, backend: dict[str, Any], path: str) -> tuple[int, str]:
    """Status and body of what a user gets who asks this front door by the service's name."""
    said = host.run("python3 -c %s %s %s %s", ASK, str(backend["port"]), backend["names"][0], path)
    assert said.rc == 0, said.stderr
    status, _, body = said.stdout.partition(" ")
    return int(status), body


@pytest.fixture
def landing(arguments: dict[str, Any]) -> dict[str, Any]:
    named = [each for each in arguments["front_door_backends"] if each["name"] == arguments["front_door_landing"]]
    if not named:
        pytest.skip("nobody measures at this site")
    return dict(named[0])


def test_haproxy_runs_and_starts_again_by_itself(host: Host) -> None:
    assert host.service("haproxy").is_running
    assert host.service("haproxy").is_enabled
    assert host.check_output("systemctl show haproxy -p Restart --value") == "always"


def test_it_takes_its_configuration_as_it_is(host: Host) -> None:
    checked = host.run("sudo -n haproxy -c -q -f /etc/haproxy/haproxy.cfg")
    assert checked.rc == 0, checked.stderr


def test_it_answers_for_every_service_that_it_was_told_of(host: Host, arguments: dict[str, Any]) -> None:
    for backend in arguments["front_door_backends"]:
        assert host.socket(f"tcp://0.0.0.0:{backend['port']}").is_listening


def test_it_knows_every_host_that_carries_them(host: Host, arguments: dict[str, Any]) -> None:
    known = set(host.check_output("sudo -n python3 -c %s", TELL).splitlines())
    assert known == {
        f"{backend['name']}/{server['name']} {server['address']}:{server['port']}"
        for backend in arguments["front_door_backends"]
        for server in backend["servers"]
    }


def test_nobody_but_root_tells_it_what_to_do(host: Host) -> None:
    assert host.check_output("sudo -n stat -c '%U %a' /run/haproxy/admin.sock") == "root 600"


def test_weights_can_be_written_down(host: Host) -> None:
    assert host.run("sudo -n /usr/libexec/pachon/front-door-state --as-healthy").rc == 0
    assert host.check_output("head -1 /var/lib/pachon/front-door/servers") == "1"


def test_the_landing_page_is_shown_with_or_without_measures(
    host: Host, landing: dict[str, Any], arguments: dict[str, Any]
) -> None:
    status, page = ask(host, landing, "/")
    assert status in (200, 503)
    assert arguments["front_door_title"] in page


def test_nothing_of_prometheus_but_the_page_is_handed_out(host: Host, landing: dict[str, Any]) -> None:
    for path in ("/api/v1/query?query=up", "/metrics", "/graph", "/consoles/index.html"):
        assert ask(host, landing, path)[0] == 404, path
