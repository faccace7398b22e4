# ruff: noqa: D103  a test says in its name what would be broken
"""What a host that measures itself must show."""

from testinfra.host import Host

ASK = """
import http.client, socket, ssl, sys
trust = ssl.create_default_context(cafile="/etc/pachon/pki/trust.pem")
if sys.argv[1] == "known":
    trust.load_cert_chain("/etc/pachon/pki/host.crt", "/etc/pachon/pki/host.key")
link = http.client.HTTPSConnection(socket.gethostname(), 9100, timeout=30, context=trust)
link.request("GET", "/metrics")
answer = link.getresponse()
print(answer.status, answer.read().decode())
"""


def test_it_runs_and_starts_again_by_itself(host: Host) -> None:
    assert host.service("prometheus-node-exporter").is_running
    assert host.service("prometheus-node-exporter").is_enabled
    assert host.check_output("systemctl show prometheus-node-exporter -p Restart --value") == "always"


def test_it_tells_hosts_of_the_facility_and_nobody_else(host: Host) -> None:
    said = host.run("sudo -n python3 -c %s known", ASK)
    assert said.stdout.startswith("200 "), said.stderr
    assert "node_memory_MemAvailable_bytes" in said.stdout
    assert host.run("sudo -n python3 -c %s stranger", ASK).rc != 0
