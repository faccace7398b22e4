"""Certificates of people: for their own account, for hours, beside their key."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.boot import ca, people
from pachon import definition
from pachon.errors import PermanentError, UsageError

LAB = definition.load(definition.find("lab"))
PERSON = LAB.people[0]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    ca.ensure_site(tmp_path, LAB.sites[1])
    return tmp_path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id_person"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_name("id_person.pub")


def test_a_certificate_is_for_the_account_of_the_persons_name_only_and_ends_in_hours(state: Path, key: Path) -> None:
    given = people.certify(state, LAB, PERSON, key=key, life=timedelta(hours=2), now=NOW)
    assert given.certificate == key.with_name("id_person-cert.pub")
    assert given.until == NOW + timedelta(hours=2)
    said = subprocess.run(
        ["ssh-keygen", "-L", "-f", given.certificate], capture_output=True, text=True, check=True, env={"TZ": "UTC"}
    ).stdout
    principals = said.partition("Principals:")[2].partition("Critical Options:")[0].split()
    assert principals == [PERSON.name]
    assert "to 2026-11-28T14:00:00" in said
    assert "permit-agent-forwarding" not in said


@pytest.mark.parametrize("hours", [0, -1, 25])
def test_no_certificate_lives_for_days_or_not_at_all(state: Path, key: Path, hours: int) -> None:
    with pytest.raises(UsageError, match="at most 24 hours"):
        people.certify(state, LAB, PERSON, key=key, life=timedelta(hours=hours), now=NOW)


def test_a_private_key_is_refused_before_anything_is_done_with_it(state: Path, key: Path) -> None:
    with pytest.raises(UsageError, match="private key"):
        people.certify(state, LAB, PERSON, key=key.with_suffix(""))


@pytest.mark.parametrize("text", ["", "ssh-rsa AAAA someone", "ssh-ed25519", "ssh-ed25519 rubbish"])
def test_what_is_no_ed25519_key_is_refused(state: Path, tmp_path: Path, text: str) -> None:
    wrong = tmp_path / "wrong.pub"
    wrong.write_text(text)
    with pytest.raises((UsageError, PermanentError)):
        people.certify(state, LAB, PERSON, key=wrong)


def test_before_anything_stands_it_says_what_to_do(tmp_path: Path, key: Path) -> None:
    with pytest.raises(PermanentError, match="no SSH authority") as refused:
        people.certify(tmp_path / "empty", LAB, PERSON, key=key)
    assert "pachon up" in refused.value.cure


def test_the_configuration_leads_through_the_bastion_of_the_hosts_own_site(state: Path, key: Path) -> None:
    given = people.certify(state, LAB, PERSON, key=key, now=NOW)

    def settings(host: str) -> dict[str, str]:
        argv = ["ssh", "-G", "-F", str(given.ssh_config), host]
        lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        return dict(line.split(" ", 1) for line in lines if " " in line)

    site = LAB.site("base")
    bastion = next(host for host in site.hosts if host.name == "base-bast01")
    assert settings("base-bctl01")["proxyjump"] == "base-bast01"
    assert settings("archive-bctl01.lab.pachon.test")["proxyjump"] == "archive-gw01"
    assert "proxyjump" not in settings("base-bast01")
    assert settings("base-bast01")["hostname"] == str(site.machine_by_serial[bastion.machine].management_address)
    assert settings("base-bctl01")["user"] == PERSON.name


def test_a_sites_authority_speaks_for_its_own_hosts_names_only(state: Path) -> None:
    patterns = ca.name_patterns(LAB.sites[1])
    assert patterns == ("archive-*",)
    other = LAB.sites[1].model_copy(update={"name": "far"})
    assert ca.name_patterns(other)[:3] == ("far-*", other.hosts[0].name, f"{other.hosts[0].name}.*")
