# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show over SSH, whatever else it is."""

import json

from testinfra.host import Host


def test_the_automation_account_may_do_everything(host: Host) -> None:
    assert host.run("sudo -n id -u").stdout.strip() == "0"


def test_nobody_can_log_in_with_a_password_or_as_root(host: Host) -> None:
    settings = host.run("sudo -n /usr/sbin/sshd -T").stdout.splitlines()
    for line in (
        "allowagentforwarding no",
        "allowstreamlocalforwarding no",
        "authenticationmethods publickey",
        "authorizedkeysfile none",
        "kbdinteractiveauthentication no",
        "passwordauthentication no",
        "permitrootlogin no",
        "trustedusercakeys /etc/ssh/pachon/user_ca.pub",
    ):
        assert line in settings


def test_the_host_shows_a_certificate_of_its_own_key_only(host: Host) -> None:
    keys = host.run("ls /etc/ssh/").stdout.split()
    assert [name for name in keys if name.startswith("ssh_host_")] == [
        "ssh_host_ed25519_key",
        "ssh_host_ed25519_key-cert.pub",
        "ssh_host_ed25519_key.pub",
    ]


def test_systemd_is_content(host: Host) -> None:
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"


def test_addresses_are_kept_by_networkd(host: Host) -> None:
    assert host.service("systemd-networkd").is_running


def test_the_journal_stays_in_memory(host: Host) -> None:
    kept = host.run("sudo -n ls -A /var/log/journal").stdout.split()
    assert set(kept) <= {"remote"}, "other hosts' journals are a log host's; its own is not on the disk"


def test_only_bastions_hand_connections_on(host: Host) -> None:
    settings = host.run("sudo -n /usr/sbin/sshd -T").stdout.splitlines()
    bastion = host.file("/etc/ssh/pachon/sshd.d/20-bastion.conf").exists
    assert f"allowtcpforwarding {'local' if bastion else 'no'}" in settings


def test_the_stamp_says_which_machine_this_is(host: Host) -> None:
    stamp = json.loads(host.file("/etc/pachon/stamp.json").content_string)
    assert {"facility", "address", "generation", "serial", "image", "at"} <= set(stamp)
    assert host.file("/etc/pachon/stamp.json.sig").exists
