"""What Ansible is told: hosts on their management address, groups, and a script that plain Ansible can run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pachon.cli.inventory import main
from pachon.definition import find, load
from pachon.hostvars import EVERY_HOST, of
from pachon.inventory import ansible
from pachon.places import CHECKOUT

SMALL = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small"
SCRIPT = CHECKOUT / "inventory" / "hosts"


def hosts(listing: dict[str, object], group: str) -> list[str]:
    content = listing[group]
    assert isinstance(content, dict)
    return list(content["hosts"])


def variables(listing: dict[str, object]) -> dict[str, dict[str, str]]:
    meta = listing["_meta"]
    assert isinstance(meta, dict)
    return dict(meta["hostvars"])


def test_inventory_groups_hosts_by_role_site_and_enclave() -> None:
    listing = ansible(load(SMALL))
    assert hosts(listing, "slurm_compute") == ["one-batch01", "one-batch02"]
    assert hosts(listing, "enclave_backbone") == ["one-stor01"]
    assert len(hosts(listing, "site_one")) == 6
    assert {len(hosts(listing, role)) for role in EVERY_HOST} == {6}


def test_inventory_tells_each_host_the_arguments_of_its_roles() -> None:
    facility = load(SMALL)
    told = variables(ansible(facility))
    for host in facility.hosts:
        if host.name in told:
            assert told[host.name].items() >= of(facility, host).items()


def test_inventory_reaches_hosts_on_the_management_segment() -> None:
    told = variables(ansible(load(SMALL)))["one-stor01"]
    assert {key: value for key, value in told.items() if key.startswith(("ansible_", "pachon_"))} == {
        "ansible_host": "198.19.12.13",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_user": "pachon",
        "pachon_address": "198.19.12.98",
        "pachon_domain": "small.pachon.test",
        "pachon_enclave": "backbone",
        "pachon_machine": "M3",
        "pachon_site": "one",
    }


def test_inventory_leaves_planned_hosts_out_unless_asked() -> None:
    assert "two-adm01" not in variables(ansible(load(SMALL)))
    assert "two-adm01" in variables(ansible(load(SMALL), planned=True))


def test_inventory_names_the_ssh_configuration_when_there_is_one() -> None:
    told = variables(ansible(load(SMALL), ssh_config=Path("/state/ssh_config"), state=Path("/state")))
    assert {each["pachon_state"] for each in told.values()} == {"/state"}
    assert {each["ansible_ssh_common_args"] for each in told.values()} == {"-F /state/ssh_config"}


def test_inventory_script_answers_under_any_python(tmp_path: Path) -> None:
    """Called by another Python, without pachon in it, the script goes on under the checkout's own."""
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PACHON_FACILITY": str(SMALL)}
    asked = subprocess.run(
        [python, SCRIPT, "--list"], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert asked.returncode == 0, asked.stderr
    facility = load(SMALL)
    assert json.loads(asked.stdout) == ansible(facility, state=tmp_path / ".local" / "state" / "pachon" / facility.name)


def test_inventory_script_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHON_FACILITY", "labb")
    assert main(["--list"]) == 2
    assert "did you mean 'lab'?" in capsys.readouterr().err


def test_inventory_script_tells_of_one_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PACHON_FACILITY", str(SMALL))
    assert main(["--host", "one-adm01"]) == 0
    assert json.loads(capsys.readouterr().out)["ansible_host"] == "198.19.12.12"
    assert main(["--host", "nobody"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_ansible_itself_reads_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(sys.executable).with_name("ansible-inventory")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PACHON_FACILITY": "lab", "LC_ALL": "C.UTF-8"}
    asked = subprocess.run(
        [program, "-i", SCRIPT, "--list"], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert asked.returncode == 0, asked.stderr
    known = set(variables(json.loads(asked.stdout)))
    assert known == {host.name for site in load(find("lab")).sites for host in site.active_hosts}
