"""The shipped lab under another name, firmware machine included: one ``up``, and all that must be true of it.

The tests share the lab with those of the other files here, which are run in the order of ``shipped.FILES``.
"""

import dataclasses
import sqlite3
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachon.model.facility import Host, Machine
from pachon.places import CHECKOUT
from tests.e2e import landing, making, ssh_doors, transcript, watching
from tests.e2e.shipped import CANARIES, NAME, NETWORK, Copy, moved

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]
WORK = {"archive": 5, "base": 4}
"""Services of which the landing page of a site says that they work."""
UNUSED: dict[str, list[str]] = {"archive": ["archive-db01.b"], "base": []}
"""Servers of its front door that nothing runs at: slots of a service that is at its first release."""


def test_up_from_nothing_creates_every_active_host_and_says_so(copy: Copy) -> None:
    report = copy.first.value
    assert (report["stands_on"], report["lacks"], report["failures"]) == ("lab", [], [])
    assert {host["name"]: host["done"] for host in report["hosts"]} == {host.name: "created" for host in copy.active}
    kinds = {copy.facility.site(host.site).machine_by_serial[host.machine].model for host in copy.active}
    assert kinds == {"container", "firmware"}


def test_the_first_login_to_every_host_is_trusted_by_the_site_s_signature_alone(copy: Copy) -> None:
    with ThreadPoolExecutor(4) as lanes:
        said = lanes.map(lambda host: copy.pachon("host", "ssh", host.name, "--", "hostname").out.strip(), copy.active)
        assert list(said) == [host.name for host in copy.active]
    config = (copy.rig.state / "ssh_config").read_text().lower()
    assert "stricthostkeychecking yes" in config
    lines = (copy.rig.state / "known_hosts").read_text().splitlines()
    assert lines
    assert all(line.startswith(("@cert-authority ", "@revoked ", "#")) for line in lines)


def test_the_firmware_machine_runs_its_own_kernel_from_its_own_boot_loader(copy: Copy) -> None:
    (host,) = (each for each in copy.active if _machine(copy, each).model == "firmware")
    kernel = copy.pachon("host", "ssh", host.name, "--", "uname -r; test -d /sys/firmware/efi && echo by UEFI").out
    assert "by UEFI" in kernel
    assert Path("/proc/sys/kernel/osrelease").read_text().strip() not in kernel


def test_up_again_at_once_changes_nothing_says_why_and_starts_no_engine(copy: Copy) -> None:
    steps = _steps(copy)
    with watching.Watch(copy.rig.state) as watch:
        report = copy.rig.ask("up")
    assert (report["changed"], report["changes"], report["failures"]) == (False, {}, [])
    assert "nothing changed: definition, images, roles and program are those of the last run" in report["why"]
    assert watch.shown(f"file://{copy.rig.state}/pulumi") == []
    assert _steps(copy) == steps


def test_status_is_well_and_a_plan_has_nothing_to_do(copy: Copy) -> None:
    status = copy.rig.ask("status")
    assert (status["condition"], status["degraded"]) == ("up", [])
    plan = copy.rig.ask("plan")
    assert (plan["waves"], plan["envelopes"], list(plan["counts"])) == ([], [], ["none"])


def test_a_machine_is_shown_as_its_bmc_tells_it(copy: Copy) -> None:
    host = copy.host("storage")
    shown = copy.rig.ask("machine", "show", host.name)
    assert shown["machine"] == host.machine
    assert all(fact["same"] for fact in shown["differences"])


def test_ansible_reaches_every_host_through_the_inventory(copy: Copy) -> None:
    listed = copy.rig.ask("inventory", "--list")
    assert sorted(listed["_meta"]["hostvars"]) == sorted(host.name for host in copy.active)
    done = copy.rig.run(["ansible", "-i", "inventory/hosts", "all", "--one-line", "-m", "ping"])
    copy.said.append(done)
    assert done.out.count("SUCCESS") == len(copy.active)


def test_verify_writes_what_it_found_as_junit(copy: Copy, tmp_path: Path) -> None:
    names = [copy.host("storage").name, copy.host("switch").name]
    copy.pachon("verify", *names, "--junit", str(tmp_path / "verify.xml"))
    suite = ElementTree.parse(tmp_path / "verify.xml").getroot()
    cases = list(suite.iter("testcase"))
    assert all(any(name in case.attrib["classname"] + case.attrib["name"] for case in cases) for name in names)
    assert not list(suite.iter("failure"))


def test_the_field_s_auditor_finds_no_weakness_in_any_host_s_ssh(copy: Copy) -> None:
    addresses = {str(copy.machine(host).management_address): host.name for host in copy.active}
    assert ssh_doors.weaknesses(addresses) == {}


def test_people_come_in_through_the_bastion_only_and_may_do_what_their_rules_say(copy: Copy, tmp_path: Path) -> None:
    almighty = next(person.name for person in copy.facility.people if person.sudo == ("ALL",))
    key = ssh_doors.new_key(tmp_path, "id")
    given = copy.pachon("--json", "person", "certify", almighty, "--key", str(key)).value
    config = Path(given["ssh_config"])
    bastion, inner = copy.host("bastion").name, copy.host("slurm_controller")
    assert ssh_doors.attempt(config, bastion, "id", "-un").out == almighty
    assert ssh_doors.attempt(config, inner.name, "sudo", "-n", "id", "-u").out == "0"
    assert ssh_doors.attempt(config, "-A", inner.name, "echo agent=$SSH_AUTH_SOCK").out == "agent="
    refusals = {
        "past the bastion": (str(copy.machine(inner).management_address), "true"),
        "as automation": (f"pachon@{bastion}", "true"),
        "as root": (f"root@{bastion}", "true"),
        "to another port than SSH": ("-W", f"{inner.address}:6817", bastion),
    }
    let_in = [what for what, words in refusals.items() if ssh_doors.attempt(config, *words).status == 0]
    assert let_in == []


def test_each_site_shows_what_runs_there_and_how_it_is(copy: Copy) -> None:
    """The landing page as people see it, what gates ask Prometheus, and what rollouts ask the front door."""
    for site in copy.facility.sites:
        works = WORK[site.name]
        page = landing.page_that_says(copy, site, works=works)
        assert page.count("<tr>") == 1 + len(landing.placed(copy, site))
        assert (page.count(">works<"), page.count(">fails")) == (works, 0)
        assert landing.becomes(copy, site, "min(probe_success) * min(up)", [1.0]) == [1.0]
        assert landing.values(copy, site, 'sum(haproxy_backend_http_responses_total{code="2xx"}) > 0')
        servers = landing.servers(copy, site)
        assert [server.name for server in servers if not server.healthy] == UNUSED[site.name]
        assert [server.name for server in servers if server.differs] == []


def test_what_machines_said_is_kept_from_power_on_to_their_own_system(copy: Copy) -> None:
    for host in copy.active:
        said = copy.rig.console(host.machine)
        assert "pachon-agent: done" in said
        own_system = "pachon: root is " if _machine(copy, host).model == "firmware" else "multi-user.target"
        assert own_system in said


def test_the_switch_carries_each_enclave_s_hosts_in_one_bridge(copy: Copy) -> None:
    switch = copy.host("switch")
    site = copy.facility.site(switch.site)
    vni = {segment.enclave: segment.vni for segment in site.segments}
    by_machine = {host.machine: host for host in site.active_hosts}
    wanted = {}
    for cable in site.cables:
        if cable.switch == switch.machine and cable.machine in by_machine:
            host = by_machine[cable.machine]
            enclave = {nic.name: nic.enclave for nic in host.nics}.get(cable.nic, host.enclave)
            wanted[cable.port] = "br-mgmt" if cable.nic == "eth0" else f"br{vni[enclave]}"
    assert len(set(wanted.values())) == 1 + len(site.segments)
    look = "; ".join(f"basename $(readlink /sys/class/net/{port}/master)" for port in wanted)
    assert copy.rig.ssh(switch.name, look).split() == [*wanted.values()]


def test_the_volume_is_mirrored_mounted_and_stops_at_its_limit(copy: Copy) -> None:
    host = copy.host("storage")
    volume = copy.facility.site(host.site).volumes[0]
    mounted = copy.rig.ssh(host.name, f"findmnt -no FSTYPE {volume.mount}; sudo btrfs filesystem df {volume.mount}")
    assert mounted.startswith("btrfs\n")
    assert "Data, RAID1" in mounted
    half, whole = f"{volume.size_gib * 512}M", f"{volume.size_gib * 1100}M"
    said = copy.rig.ssh(
        host.name,
        f"cd {volume.mount}; sudo fallocate -l {half} half && echo fits; sudo fallocate -l {whole} whole 2>&1; "
        "sudo rm -f half whole",
    )
    assert said.startswith("fits\n")
    assert "Disk quota exceeded" in said


def test_what_is_written_at_one_site_is_copied_to_the_other_and_read_back(copy: Copy) -> None:
    for endpoint in [host for host in copy.active if "xrootd" in host.groups]:
        said = copy.rig.ssh(endpoint.name, "sudo /usr/libexec/pachon/backbone-smoke")
        assert "copied to 1 other endpoints, read back and removed" in said
    for member in [host for host in copy.active if "postgresql" in host.groups]:
        said = copy.rig.ssh(member.name, "sudo /usr/libexec/pachon/postgresql-smoke")
        assert said.strip() == "a row was written at the primary and read at 1 replicas"


def test_no_secret_is_in_arguments_environment_logs_state_or_plan(copy: Copy) -> None:
    copy.pachon("--json", "plan")
    secrets = _secrets(copy.rig.state)
    assert {*CANARIES} <= {*secrets}
    assert any(name.startswith("ssh_host_ca") for name in secrets)
    assert copy.watch.tokens, "no token of a deploy was seen: the watch was blind"
    assert len(copy.watch.texts) > 20
    for name, secret in {**secrets, **{f"token {n}": token for n, token in enumerate(copy.watch.tokens)}}.items():
        assert copy.watch.shown(secret) == [], f"{name} was shown by a process"
        found = [str(path) for path in _told(copy.rig.state) if secret.encode() in path.read_bytes()]
        if not name.startswith("token"):  # firmware prints the address that it boots, token included
            found += [str(path) for path in copy.rig.state.rglob("console.log") if secret.encode() in path.read_bytes()]
        assert found == [], f"{name} was written down"
        assert [done for done in copy.said if secret in done.out + done.err] == [], f"{name} was printed"


def test_one_link_and_one_route_lead_into_the_lab_and_nothing_leaves_it(copy: Copy) -> None:
    links, routes = watching.lab_link(NAME)
    assert (len(links), routes) == (1, [f"{NETWORK}.0/20"])
    assert moved(copy.before) == {}
    assert watching.open_doors(str(copy.rig.state)) == []
    assert copy.ear.heard == []


def test_the_readme_s_transcript_is_what_happens(copy: Copy) -> None:
    environment = {**copy.rig.environment, "PATH": f"{CHECKOUT / '.venv' / 'bin'}:{copy.rig.environment['PATH']}"}
    for exchange in transcript.exchanges(CHECKOUT / "README.md"):
        expected = tuple(making.renumbered(line, NETWORK) for line in exchange.expected)
        told = dataclasses.replace(exchange, expected=expected, command=making.renumbered(exchange.command, NETWORK))
        transcript.replay(told, folder=CHECKOUT, environment=environment, facility=NAME)


def _machine(copy: Copy, host: Host) -> Machine:
    return copy.facility.site(host.site).machine_by_serial[host.machine]


def _steps(copy: Copy) -> int:
    """How many steps the journal has."""
    with sqlite3.connect(f"file:{copy.rig.state / 'store.db'}?mode=ro", uri=True) as store:
        return int(store.execute("select count(*) from steps").fetchone()[0])


def _secrets(state: Path) -> dict[str, str]:
    """Passwords, and a line from the middle of each private key."""
    found = {path.name: path.read_text().strip() for path in (state / "secrets").iterdir() if path.is_file()}
    for path in (*state.rglob("*.key"), *state.rglob("ssh_*_ca"), state / "keys" / "automation"):
        lines = path.read_text().splitlines()
        found[f"{path.name} of {path.parent.name}"] = lines[len(lines) // 2]
    return found


def _told(state: Path) -> list[Path]:
    """Files in which a run, the engine or a service tells what it did."""
    logs = [path for path in state.rglob("*") if path.suffix in (".log", ".jsonl") or path.name == "log"]
    engine = [path for path in (state / "pulumi").rglob("*") if "home" not in path.relative_to(state / "pulumi").parts]
    return [path for path in {*logs, *engine} if path.is_file() and path.name != "console.log"]
