"""What ``pachon doctor`` makes of a machine: each lack with what it blocks and what to do."""

from datetime import UTC, datetime

import pytest

from infra.toolchain import machine
from pachon.doctor import Blocks, Facts, FeatureFact, Finding, PackageFact, ProgramFact, findings, lacks

GOOD = Facts(
    python=(3, 11, 2),
    root=True,
    apt=True,
    virtualenv="current",
    programs=(ProgramFact(name="pulumi", needed_version="3.250.0", found="3.250.0 at /x"),),
    packages_absent=(),
    features=(FeatureFact(name="namespaces", lack=""),),
    inotify_instances=8192,
    cache_path="/cache",
    cache_bytes=3 << 30,
    disk_free_bytes=100 << 30,
    memory_available_bytes=16 << 30,
    now=datetime(2026, 12, 1, tzinfo=UTC),
    lab_lacks=(),
)


def judged(**changes: object) -> tuple[Finding, ...]:
    return findings(GOOD.model_copy(update=changes))


def test_a_machine_that_has_all_lacks_nothing() -> None:
    assert [finding for finding in judged() if not finding.ok or finding.cure] == []


@pytest.mark.parametrize(
    ("changes", "name", "blocks", "cure"),
    [
        ({"python": (3, 9, 2)}, "python", "all", "Python 3.11"),
        ({"virtualenv": "stale"}, "python packages", "all", "make setup"),
        ({"virtualenv": "missing"}, "python packages", "all", "make setup"),
        ({"programs": (ProgramFact(name="pulumi", needed_version="1", found=""),)}, "pulumi", "all", "make setup"),
        (
            {"packages_absent": (PackageFact(name="zstd", absent=("zstd",), purpose="images"),)},
            "package zstd",
            "lab",
            "make setup",
        ),
        (
            {"packages_absent": (PackageFact(name="zstd", absent=("zstd",), purpose="images"),), "apt": False},
            "package zstd",
            "lab",
            "what Debian calls zstd",
        ),
        ({"root": False}, "root", "lab", "twin"),
        ({"features": (FeatureFact(name="bridges", lack="not supported"),)}, "kernel: bridges", "lab", "twin"),
        ({"root": False, "inotify_instances": 128}, "fs.inotify.max_user_instances", "lab", "sysctl"),
        ({"disk_free_bytes": 1 << 30}, "disk", "all", "PACHON_CACHE"),
        ({"memory_available_bytes": 1 << 30}, "memory", "lab", "fewer machines"),
        ({"now": datetime(1970, 1, 1, tzinfo=UTC)}, "clock", "all", "set the clock"),
        ({"lab_lacks": ("no /dev/net/tun",)}, "lab", "lab", "twin"),
    ],
)
def test_each_lack_says_what_it_blocks_and_what_to_do(
    changes: dict[str, object], name: str, blocks: Blocks, cure: str
) -> None:
    lack = next(finding for finding in judged(**changes) if not finding.ok and finding.name == name)
    assert lack.blocks == blocks
    assert cure in lack.cure
    assert lack.found
    assert lack.needed


def test_root_may_leave_the_inotify_limit_to_the_lab_and_is_told_so() -> None:
    finding = next(finding for finding in judged(inotify_instances=128) if finding.name.startswith("fs.inotify"))
    assert finding.ok
    assert "the lab raises it" in finding.found


def test_more_disk_is_needed_while_programs_are_still_to_be_built() -> None:
    unbuilt = (ProgramFact(name="pulumi", needed_version="1", found=""),)
    assert not [f for f in judged(disk_free_bytes=15 << 30) if f.name == "disk" and not f.ok]
    assert [f for f in judged(disk_free_bytes=15 << 30, programs=unbuilt) if f.name == "disk" and not f.ok]


def test_what_blocks_all_blocks_the_lab_too_but_not_the_other_way() -> None:
    found = judged(root=False, virtualenv="stale")
    assert {finding.name for finding in lacks(found, "lab")} == {"root", "python packages"}
    assert {finding.name for finding in lacks(found, "all")} == {"python packages"}


def test_this_machine_can_be_observed_and_judged() -> None:
    found = findings(machine.observe())
    assert {"python", "disk", "memory", "clock"} <= {finding.name for finding in found}
    assert all(finding.cure for finding in found if not finding.ok)
