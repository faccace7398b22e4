"""Rules over a facility that no file is needed for."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from infra.image import recipe
from pachon.checks import check
from pachon.checks.addresses import reserved_by_lab
from pachon.checks.sizes import FLAVOURS, GROUPS
from pachon.checks.spelling import nearest
from pachon.checks.storage import capacity_gib
from pachon.definition import load
from pachon.model.facility import Disk, Facility, Flow, StoragePool

SMALL = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small"


@pytest.fixture(scope="module")
def small() -> Facility:
    return load(SMALL)


def test_a_sound_facility_has_no_notes(small: Facility) -> None:
    assert check(small) == []


def test_a_note_names_the_address_and_the_field(small: Facility) -> None:
    site = small.sites[0]
    host = site.hosts[1].model_copy(update={"machine": "M7"})
    broken = small.model_copy(
        update={"sites": (site.model_copy(update={"hosts": (site.hosts[0], host, *site.hosts[2:])}), *small.sites[1:])}
    )
    (note,) = check(broken)
    assert (note.address, note.key, note.missing) == ("one/host/one-adm01", "machine", "M7")


@pytest.mark.parametrize("source", ["any", "provisioning"])
def test_any_stands_for_every_source_but_for_no_target(small: Facility, source: str) -> None:
    flow = Flow(source=source, target="any", ports=("tcp/22",), reason="")
    notes = check(small.model_copy(update={"flows": (*small.flows, flow)}))
    assert [note.key for note in notes if note.missing == "any"] == ["target"]


@pytest.mark.parametrize(
    ("prefix", "reserved"),
    [
        ("198.18.0.0/16", "198.18.255.0/24"),
        ("198.19.12.0/23", "198.19.13.0/24"),
        ("198.19.12.0/24", "198.19.12.240/28"),
        ("198.19.12.0/26", "198.19.12.48/28"),
        ("198.19.12.0/32", "198.19.12.0/32"),
    ],
)
def test_the_lab_keeps_the_end_of_its_prefix(prefix: str, reserved: str) -> None:
    assert reserved_by_lab(IPv4Network(prefix)) == IPv4Network(reserved)


@pytest.mark.parametrize(
    ("sizes", "mirrored", "space"),
    [
        ((4, 4), True, 4),
        ((4, 4), False, 8),
        ((4, 4, 4), True, 6),
        ((10, 2), True, 2),
        ((10, 2, 3), True, 5),
        ((), True, 0),
    ],
)
def test_space_of_a_pool_is_what_can_be_kept_twice(
    small: Facility, sizes: tuple[int, ...], mirrored: bool, space: int
) -> None:
    disks = tuple(
        Disk(name=f"vd{index}", serial=f"D{index}", media="hdd", size_gib=size) for index, size in enumerate(sizes)
    )
    machine = small.machines[0].model_copy(update={"disks": disks})
    names = tuple(disk.name for disk in disks)
    pool = StoragePool(name="p", site="one", host="h", disks=names, file_system="btrfs", mirrored=mirrored)
    assert capacity_gib(pool, machine) == space


def test_every_image_that_is_baked_is_a_flavour_that_hosts_may_have() -> None:
    assert set(FLAVOURS) == set(recipe.FLAVOURS)


def test_every_flavour_and_group_asks_for_something() -> None:
    assert all(least.memory_mib and least.system_disk_gib for least in (*FLAVOURS.values(), *GROUPS.values()))


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("A0012", "A012"),
        ("A12", "A012"),
        ("A01Z", "A010"),
        ("0A12", "A012"),
        ("A102", "A002"),
        ("nothing", None),
        ("x" * 9999, None),
    ],
)
def test_among_very_many_names_only_one_slip_is_guessed(word: str, meant: str | None) -> None:
    known = {f"A{number:03d}" for number in range(100)} | {f"other-{number}" for number in range(5000)}
    assert nearest(word, known) == meant


def test_among_few_names_the_nearest_is_guessed() -> None:
    assert nearest("provisionning", ["provisioning", "production"]) == "provisioning"
    assert nearest("zzz", ["provisioning", "production"]) is None
