"""What the agent decides and writes, on plain folders."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra.boot.agent.console import PassingError, TroubleError
from infra.boot.agent.host import configure, network_files
from infra.boot.agent.machine import find_disk
from infra.boot.agent.main import words
from infra.boot.agent.server import Server, patiently
from infra.image.keys import AGENT

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


class Silent(Server):
    """A boot service that signs everything."""

    def __init__(self) -> None:
        super().__init__("https://127.0.0.1:1", "t", "p")
        self.said: list[tuple[str, dict[str, Any]]] = []

    def post(self, name: str, **body: Any) -> dict[str, Any]:
        self.said.append((name, body))
        return {"certificates": ["certificate"]}


def test_command_line_words_are_found_among_others() -> None:
    line = "console=ttyS0 pachon.args= pachon.server=https://h:1 quiet pachon.token=ab=c pachon.pin=d"
    assert words(line) == {"args": "", "server": "https://h:1", "token": "ab=c", "pin": "d"}


def test_networks_are_told_by_mac_and_answers_leave_by_the_management_gateway(bench: "Bench") -> None:
    order = bench.order().model_dump(mode="json")
    files = network_files(order["address_on"])
    base = "/etc/systemd/network/10-pachon-"
    assert set(files) == {f"{base}{name}" for name in ("eth0.link", "eth0.network", "eth1.link", "eth1.network")}
    assert "MACAddress=52:54:00:60:00:01" in files[f"{base}eth0.network"]
    assert "From=127.0.0.1\nTable=1000" in files[f"{base}eth0.network"]
    assert "\nGateway=198.19.62.1\n" in files[f"{base}eth1.network"]
    assert "Address=198.19.62.11/24" in files[f"{base}eth1.network"]


def test_a_nic_without_an_address_is_named_and_nothing_else() -> None:
    files = network_files({"52:54:00:00:00:01": {"name": "swp1", "address": None}})
    assert list(files) == ["/etc/systemd/network/10-pachon-swp1.link"]


def test_the_disk_is_found_by_serial_only_and_others_are_named() -> None:
    found = [
        {"name": "sda", "serial": "A1", "node": "/dev/sda"},
        {"name": "nvme0n1", "serial": "VENDOR_MODEL_B2", "node": "/dev/nvme0n1"},
        {"name": "sdb", "serial": "", "node": "/dev/sdb"},
    ]
    assert find_disk("A1", found) == "/dev/sda"
    assert find_disk("B2", found) == "/dev/nvme0n1"
    with pytest.raises(TroubleError, match=r"no disk with serial C3; found: sda \(A1\).*sdb \(no serial\)"):
        find_disk("C3", found)


def test_a_host_gets_its_name_trust_stamp_and_keys_made_on_it(tmp_path: Path) -> None:
    old = tmp_path / "etc/ssh/ssh_host_rsa_key"
    old.parent.mkdir(parents=True)
    old.write_text("baked in by mistake")
    server = Silent()
    orders = {
        "host": "base-batch01",
        "hosts": ["127.0.0.1 localhost"],
        "address_on": {},
        "stamp": "{}",
        "stamp_signature": "sig",
        "user_ca_public": "ca\n",
        "principals": {"pachon": ["automation"]},
    }
    configure(tmp_path, orders, server)
    assert not old.exists()
    assert (tmp_path / "etc/hostname").read_text() == "base-batch01\n"
    assert (tmp_path / "etc/ssh/pachon/principals/pachon").read_text() == "automation\n"
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "etc/ssh/ssh_host_ed25519_key-cert.pub").read_text() == "certificate\n"
    ((name, body),) = server.said
    assert name == "host-keys"
    assert body["public_keys"][0].startswith("ssh-ed25519 ")


def test_passing_trouble_is_tried_again_and_ends_with_the_last_complaint() -> None:
    tries: list[int] = []

    def work() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise PassingError("busy")
        return "there"

    assert patiently(work, "asking", 30) == "there"
    with pytest.raises(TroubleError, match=r"asking: busy \(tried for 0 s\)"):
        tries.clear()
        patiently(work, "asking", 0.05)


def test_the_agent_needs_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path]; "
        f"sys.path.append({str(AGENT.parent)!r}); import agent.main"
    )
    subprocess.run(["/usr/bin/python3", "-I", "-c", program], check=True)
