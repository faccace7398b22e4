"""Tests of every host, whatever its roles: it is the host that it should be, and its own disk says so."""

import json

from testinfra.host import Host  # type: ignore[import-untyped]  # it has no stubs

from pachon.drivers.testinfra.orders import Target


def test_it_bears_its_own_name(host: Host, target: Target) -> None:
    """The name of the definition is the name of the system."""
    assert host.check_output("hostname").partition(".")[0] == target.name


def test_its_stamp_names_it(host: Host, target: Target) -> None:
    """The stamp on its own disk says the same address."""
    stamp = json.loads(host.file("/etc/pachon/stamp.json").content_string)
    assert stamp["address"] == f"{target.site}/host/{target.name}"


def test_no_unit_has_failed(host: Host) -> None:
    """What it starts at boot runs."""
    listed = host.check_output("systemctl list-units --state=failed --plain --no-legend")
    failed = [line.split()[0] for line in listed.splitlines() if line.strip()]
    assert not failed, f"failed units: {', '.join(failed)}"
