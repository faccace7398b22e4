# ruff: noqa: D103  a test says in its name what would be broken
"""What a host with the TAP service must show."""

from typing import Any

from testinfra.host import Host

ASK = """
import http.client, socket, ssl, sys, urllib.parse
port, path, query = int(sys.argv[1]), sys.argv[2], sys.argv[3]
trust = ssl.create_default_context(cafile="/etc/pachon/pki/trust.pem")
link = http.client.HTTPSConnection(socket.gethostname(), port, timeout=30, context=trust)
form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": query}
link.request("POST" if query else "GET", path, urllib.parse.urlencode(form) if query else None)
answer = link.getresponse()
print(answer.status, answer.getheader("Server"), answer.read().decode())
"""


def ask(host: Host, port: int, path: str, query: str = "") -> str:
    said = host.run("python3 -c %s %s %s %s", ASK, str(port), path, query)
    assert said.rc == 0, said.stderr
    return str(said.stdout)


def test_each_slot_runs_what_it_is_to_run_and_the_others_nothing(host: Host, arguments: dict[str, Any]) -> None:
    for slot, port in arguments["tap_ports"].items():
        wanted = arguments["tap_slots"].get(slot)
        unit = host.service(f"tap@{slot}")
        assert (unit.is_running, unit.is_enabled) == (wanted is not None, wanted is not None)
        assert host.socket(f"tcp://0.0.0.0:{port}").is_listening == (wanted is not None)
        if wanted is not None:
            assert ask(host, port, "/tap/availability").startswith(f"200 tap/{wanted['version']} ")


def test_a_cone_search_finds_its_objects_and_nothing_can_be_written(host: Host, arguments: dict[str, Any]) -> None:
    cone = "1=CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 180, 0, 10))"
    for slot in arguments["tap_slots"]:
        port = arguments["tap_ports"][slot]
        found = ask(host, port, "/tap/sync", f"SELECT TOP 5 object_id, ra, dec FROM sample.object WHERE {cone}")
        assert found.startswith("200 ") and "object_id,ra,dec" in found
        assert 2 < len(found.splitlines()) <= 8
        assert ask(host, port, "/tap/sync", "DELETE FROM sample.object").startswith("400 ")
