# ruff: noqa: D103  a test says in its name what would be broken
"""What a bastion must show."""

from testinfra.host import Host


def test_it_hands_on_to_ssh_only(host: Host) -> None:
    settings = host.check_output("sudo -n /usr/sbin/sshd -T").splitlines()
    assert {"allowagentforwarding no", "allowtcpforwarding local", "gatewayports no", "x11forwarding no"} <= set(
        settings
    )
    targets = next(line for line in settings if line.startswith("permitopen ")).split()[1:]
    assert targets and all(target.endswith(":22") for target in targets)


def test_people_come_to_it_from_anywhere(host: Host) -> None:
    people = host.group("people").members
    settings = host.check_output("sudo -n /usr/sbin/sshd -T").splitlines()
    assert {f"allowusers {name}@*" for name in people} <= set(settings)
