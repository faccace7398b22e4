"""The end of the shipped lab: it goes without a trace, and then nobody looks for it at its addresses."""

import socket
from pathlib import Path

import pytest

from tests.e2e import watching
from tests.e2e.rig import PACHON, processes_with
from tests.e2e.shipped import CLOCK_SECONDS, NAME, Copy, moved

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]


def test_down_leaves_nothing_and_the_machine_as_it_was(copy: Copy) -> None:
    copy.rig.down()
    assert not copy.rig.state.exists()
    assert processes_with(str(copy.rig.state)) == []
    assert processes_with(f"{NAME}.", environment=False) == []
    left = [str(path) for path in Path("/run/netns").glob(f"{NAME}*")]
    left += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/pachon-lab/{NAME}")]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(copy.rig.top) in line]
    left += [str(path) for path in Path("/run/pachon").glob(f"{NAME}.*")]
    left += [name for _, name in socket.if_nameindex() if name in watching.lab_link(NAME)[0]]
    assert left == []
    assert moved(copy.before) == {}
    assert abs(watching.clock_offset_seconds() - copy.clock_before) < CLOCK_SECONDS


def test_with_the_lab_down_no_command_asks_strangers_at_its_addresses(copy: Copy) -> None:
    host = copy.host("admin")
    for words in (["plan"], ["status"], ["machine", "list", "--power"], ["host", "ssh", host.name, "--", "true"]):
        copy.rig.run([PACHON, *words], status=None)
    assert copy.ear.heard == []
