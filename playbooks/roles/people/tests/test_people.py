# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of people: accounts as listed, without passwords, with no more sudo than the rules say."""

import json

from testinfra.host import Host


def test_accounts_are_those_of_the_list(host: Host) -> None:
    listed = json.loads(host.file("/etc/pachon/people.json").content_string)
    for person in listed:
        account = host.user(person["name"])
        assert (account.exists, account.uid) == (True, person["uid"])
    members = host.group("people").members
    assert sorted(members) == sorted(person["name"] for person in listed)


def test_no_person_has_a_password(host: Host) -> None:
    shadow = dict(line.split(":")[:2] for line in host.check_output("sudo -n cat /etc/shadow").splitlines())
    for name in host.group("people").members:
        assert shadow[name] == "*"


def test_nobody_is_in_the_group_of_those_who_may_do_everything(host: Host) -> None:
    assert host.group("sudo").members == []


def test_sudo_knows_the_people_of_the_list_only(host: Host) -> None:
    text = host.check_output("sudo -n cat /etc/sudoers.d/people")
    listed = {person["name"] for person in json.loads(host.file("/etc/pachon/people.json").content_string)}
    assert {line.split()[0] for line in text.splitlines() if line and not line.startswith("#")} <= listed
    assert "no valid sudoers" not in host.run("sudo -n visudo -c").stderr


def test_everybody_comes_from_stated_addresses(host: Host) -> None:
    settings = host.check_output("sudo -n /usr/sbin/sshd -T").splitlines()
    allowed = [line.split()[1] for line in settings if line.startswith("allowusers ")]
    assert allowed, "anybody with a certificate would be let in"
    assert all("@" in each for each in allowed)
    automation = [each for each in allowed if each.startswith("pachon@")]
    assert automation and "pachon@*" not in automation
