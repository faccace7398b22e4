"""The machine under a lab is reset: all processes of lab and boot service are gone. The next ``up`` revives them."""

import contextlib
import json

import psutil
import pytest

from infra.lab import cgroups
from tests.e2e import making
from tests.e2e.rig import Rig, processes_with, rig

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(900)]

NAME = "t-reset"


def reset(made: Rig) -> None:
    """End everything of the facility that runs, as a reset of this machine does; only files and kernel objects stay."""
    cgroups.lab(NAME).kill()
    service = psutil.Process(json.loads((made.state / "boot" / "here" / "service.json").read_text())["pid"])
    dying = [service, *service.children(recursive=True)]
    for process in dying:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(dying)


def test_after_a_reset_of_the_machine_the_next_up_revives_the_lab_and_images_nothing() -> None:
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.116", furnished=True)
        made.pachon("up")
        reset(made)
        assert processes_with(str(made.state)) == []
        assert made.ask("status", status=4)["degraded"]
        report = made.ask("up")
        assert (report["failures"], report["changed"]) == ([], True)
        for number in (1, 2):
            host, serial = making.host(NAME, number), making.serial(NAME, number)
            assert made.ssh(host, "hostname").strip() == host
            assert made.imagings(serial) == 1
        assert made.ssh(making.host(NAME, 2), "findmnt -no FSTYPE /srv/landing").strip() == "btrfs"
        assert made.ask("status")["degraded"] == []
        assert made.ask("up")["changed"] is False
