"""The images' data and the playbooks that they name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.image import apt, modules, recipe
from infra.image.keys import PLAYBOOKS
from pachon.errors import MissingError

ROLES = sorted(path.name for path in (PLAYBOOKS / "roles").iterdir() if path.is_dir())
LISTS = (
    recipe.PACKAGES,
    recipe.PRUNED,
    recipe.DEPLOY_PROGRAMS,
    recipe.DISK_MODULE_FOLDERS,
    recipe.PYTHON_LEFT_OUT,
)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("values", LISTS)
def test_lists_are_sorted_and_name_nothing_twice(values: tuple[str, ...]) -> None:
    assert list(values) == sorted(set(values))


def test_every_role_of_a_flavour_is_there_and_in_both_playbooks() -> None:
    for book in ("image.yml", "site.yml"):
        hosts = [play["hosts"] for play in load(PLAYBOOKS / book)]
        assert set(hosts) >= {role for roles in recipe.FLAVOURS.values() for role in roles}
        assert [[role["role"] for role in play["roles"]] for play in load(PLAYBOOKS / book)] == [
            [name] for name in hosts
        ]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_declares_what_it_has_defaults_for_and_brings_its_tests(role: str) -> None:
    folder = PLAYBOOKS / "roles" / role
    options: Mapping[str, Any] = load(folder / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(load(folder / "defaults/main.yml")) <= set(options)
    assert (folder / "tests" / f"test_{role}.py").is_file()


LISTING = """\
http://mirror.example/debian bookworm main
http://mirror.example/debian bookworm main
http://mirror.example/debian bookworm-updates main
http://security.example/debian-security bookworm-security main
http://other.example/apt bookworm stable
http://other.example/cloud cloud-sdk-bookworm main
"""


def test_sources_are_this_machines_own_and_debians_only() -> None:
    assert apt.parse(LISTING, "bookworm") == (
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://security.example/debian-security bookworm-security main",
    )


def test_a_machine_without_the_suite_is_told_what_to_add() -> None:
    with pytest.raises(MissingError, match=r"sources\.list\.d"):
        apt.parse(LISTING, "trixie")


def test_modules_come_with_what_they_need() -> None:
    needs = {
        "kernel/drivers/net/virtio_net.ko": ["kernel/drivers/net/net_failover.ko", "kernel/net/core/failover.ko"],
        "kernel/drivers/block/virtio_blk.ko": [],
        "kernel/drivers/block/drbd/drbd.ko": ["kernel/lib/lru_cache.ko"],
        "kernel/sound/snd.ko": [],
    }
    assert modules.choose(needs, network=False) == {"kernel/drivers/block/virtio_blk.ko"}
    assert modules.choose(needs, network=True) == {
        "kernel/drivers/block/virtio_blk.ko",
        "kernel/drivers/net/net_failover.ko",
        "kernel/drivers/net/virtio_net.ko",
        "kernel/net/core/failover.ko",
    }
