"""The site's CA judged by OpenSSH's own programs."""

import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import ssh

from infra.boot import ca
from pachon.errors import PermanentError

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


def keygen(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *map(str, arguments)], input=stdin, capture_output=True, check=False)


def host_key(folder: Path, name: str = "key") -> str:
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", folder / name)
    return (folder / f"{name}.pub").read_text().strip()


def certificate(line: str) -> ssh.SSHCertificate:
    found = ssh.load_ssh_public_identity(line.encode())
    assert isinstance(found, ssh.SSHCertificate)
    return found


def test_host_certificate_says_who_it_is_for_and_ends_after_ninety_days(bench: "Bench", tmp_path: Path) -> None:
    now = datetime.now(UTC)
    (line,) = ca.sign_host(
        bench.state, "base", serial="SN1", public_keys=[host_key(tmp_path)], names=["base-batch01", "127.0.0.1"]
    )
    (tmp_path / "c-cert.pub").write_text(line)
    listed = keygen("-L", "-f", tmp_path / "c-cert.pub").stdout.decode()
    assert "host certificate" in listed
    assert "base-batch01" in listed
    assert "127.0.0.1" in listed
    until = datetime.fromtimestamp(certificate(line).valid_before, UTC)
    assert abs(until - now - timedelta(days=90)) < timedelta(minutes=5)
    assert datetime.fromtimestamp(certificate(line).valid_after, UTC) < now - timedelta(minutes=55)


def test_stamp_signature_is_what_ssh_keygen_verifies_and_a_changed_stamp_is_not(bench: "Bench", tmp_path: Path) -> None:
    text = '{"address": "base/host/base-batch01"}'
    signature = ca.sign_stamp(bench.state, "base", text)
    (tmp_path / "sig").write_text(signature)
    public = (bench.state / "ca/base/ssh_host_ca.pub").read_text()
    (tmp_path / "signers").write_text(f"site-base {public}")
    arguments = ("-Y", "verify", "-f", tmp_path / "signers", "-I", "site-base", "-n", "pachon-stamp")
    assert keygen(*arguments, "-s", tmp_path / "sig", stdin=text.encode()).returncode == 0
    assert keygen(*arguments, "-s", tmp_path / "sig", stdin=b"other").returncode != 0
    assert ca.stamp_is_genuine(bench.state, "base", text, signature)
    assert not ca.stamp_is_genuine(bench.state, "base", text + " ", signature)
    assert not ca.stamp_is_genuine(bench.state, "base", text, "no signature")


def test_stamp_signed_by_ssh_keygen_is_believed(bench: "Bench", tmp_path: Path) -> None:
    (tmp_path / "stamp").write_text("text")
    keygen("-Y", "sign", "-f", bench.state / "ca/base/ssh_host_ca", "-n", "pachon-stamp", tmp_path / "stamp")
    assert ca.stamp_is_genuine(bench.state, "base", "text", (tmp_path / "stamp.sig").read_text())


def test_automation_certificate_is_kept_while_good_and_renewed_before_it_ends(bench: "Bench") -> None:
    path = bench.state / "keys/automation-cert.pub"
    first = path.read_text()
    ca.ensure_automation_key(bench.state, bench.facility)
    assert path.read_text() == first
    ca.ensure_automation_key(bench.state, bench.facility, now=datetime.now(UTC) + timedelta(hours=13))
    renewed = certificate(path.read_text())
    assert path.read_text() != first
    assert renewed.valid_principals == [b"automation"]


def test_private_keys_are_for_their_owner_only(bench: "Bench") -> None:
    for path in ("ca/base/ssh_host_ca", "ca/base/ssh_user_ca", "keys/automation"):
        assert (bench.state / path).stat().st_mode & 0o077 == 0, path
    assert bench.state.stat().st_mode & 0o077 == 0


def test_trust_names_the_authority_for_its_networks_and_plain_keys_for_paramiko(bench: "Bench", tmp_path: Path) -> None:
    public = host_key(tmp_path)
    ca.sign_host(bench.state, "base", serial="SN1", public_keys=[public], names=["base-batch01", "127.0.0.1"])
    bundle = (bench.state / "known_hosts").read_text()
    assert bundle.startswith("@cert-authority 127.0.0.*,198.19.62.*,base-* ssh-ed25519 ")
    plain = (bench.state / "known_hosts.plain").read_text()
    assert plain == f"base-batch01,127.0.0.1 {' '.join(public.split()[:2])}\n"


def test_revoked_host_is_believed_nowhere_and_its_key_is_not_signed_again(bench: "Bench", tmp_path: Path) -> None:
    public = host_key(tmp_path)
    ca.sign_host(bench.state, "base", serial="SN1", public_keys=[public], names=["base-batch01"])
    ca.revoke_host(bench.state, "base", "SN1")
    ca.revoke_host(bench.state, "base", "SN1")
    assert f"@revoked * {' '.join(public.split()[:2])}" in (bench.state / "known_hosts").read_text()
    assert (bench.state / "known_hosts.plain").read_text() == ""
    with pytest.raises(PermanentError, match="revoked"):
        ca.sign_host(bench.state, "base", serial="SN1", public_keys=[public], names=["base-batch01"])


def test_only_ed25519_public_keys_are_signed(bench: "Bench", tmp_path: Path) -> None:
    keygen("-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "e")
    for key in ((tmp_path / "e.pub").read_text(), "ssh-ed25519 AAAA", "nonsense"):
        with pytest.raises(PermanentError):
            ca.sign_host(bench.state, "base", serial="SN1", public_keys=[key], names=["x"])


@pytest.mark.parametrize(
    ("network", "patterns"),
    [
        ("10.0.0.0/8", ("10.*",)),
        ("198.18.0.0/15", ("198.18.*", "198.19.*")),
        ("198.18.4.0/23", ("198.18.4.*", "198.18.5.*")),
        ("198.18.4.8/30", ("198.18.4.8", "198.18.4.9", "198.18.4.10", "198.18.4.11")),
    ],
)
def test_networks_become_patterns_that_cover_them_and_nothing_else(network: str, patterns: tuple[str, ...]) -> None:
    assert ca.network_patterns(IPv4Network(network)) == patterns


def test_ssh_reads_the_configuration_it_is_given(bench: "Bench") -> None:
    path = bench.state / "ssh_config"
    done = subprocess.run(["ssh", "-F", path, "-G", "base-batch01"], capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert said["hostname"] == "127.0.0.1"
    assert said["user"] == "pachon"
    assert said["stricthostkeychecking"] == "true"
