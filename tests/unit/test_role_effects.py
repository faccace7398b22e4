"""What roles leave: every module that they use is understood, and what cannot be understood they say themselves."""

from pathlib import Path
from typing import Any

import pytest

from infra.image import recipe
from pachon import definition, hostvars
from pachon.layers.role_effects import foreseen, image_tasks_of, leavings, modules_of, read_anew, unforeseen
from pachon.model.effects import INEXPRESSIBLE, MODULES, NOTHING, effects_of
from pachon.model.facility import Host

LAB = definition.load(definition.find("lab"))
CONTENT = ["content", "mode", "owner", "group"]
CALLS: dict[str, tuple[dict[str, Any], list[tuple[str, str, list[str]]]]] = {
    "ansible.posix.mount": ({"path": "/srv/a/"}, [("mount", "/srv/a", ["type", "root", "options"])]),
    "ansible.posix.sysctl": ({"name": "vm.swappiness", "value": "1"}, [("sysctl", "vm.swappiness", ["value"])]),
    "apt": ({"name": ["a", "b"]}, [("package", "a", ["version"]), ("package", "b", ["version"])]),
    "copy": ({"src": "x/a.conf", "dest": "/etc/"}, [("file", "/etc/a.conf", CONTENT)]),
    "file": ({"path": "/etc/a", "state": "directory"}, [("folder", "/etc/a", CONTENT[1:])]),
    "group": ({"name": "g"}, [("group", "g", ["gid", "members"])]),
    "nftables_ruleset": ({}, [("ruleset", "nftables", ["content"])]),
    "package": ({"name": "*"}, [("package", "*", ["version"])]),
    "systemd_service": ({"name": "a", "enabled": False, "state": "started"}, [("unit", "a", ["enabled", "running"])]),
    "template": ({"src": "a.j2", "dest": "/etc/a"}, [("file", "/etc/a", CONTENT)]),
    "user": ({"name": "u"}, [("user", "u", ["uid", "gid", "title", "home", "housed", "shell", "groups", "password"])]),
}


def carriers(role: str) -> list[Host]:
    return [host for host in LAB.hosts if role in hostvars.roles_of(host)]


def test_every_module_of_the_closed_list_is_tried_here() -> None:
    assert set(CALLS) == set(MODULES)


@pytest.mark.parametrize("module", CALLS)
def test_a_module_leaves_what_it_says(module: str) -> None:
    arguments, expected = CALLS[module]
    effects = effects_of(module, arguments)
    assert effects is not None
    assert [(each["kind"], each["name"], each["aspects"]) for each in effects] == expected


def test_a_file_that_is_written_once_is_its_owner_s_from_then_on() -> None:
    (effect,) = effects_of("ansible.builtin.copy", {"dest": "/etc/fstab", "content": "", "force": False}) or []
    assert effect["aspects"] == [], "a play would put neither content nor mode right"


def test_a_unit_that_is_only_reloaded_has_to_run_and_one_that_is_stopped_not_to() -> None:
    for state, running in (("reloaded", "yes"), ("stopped", "no")):
        (effect,) = effects_of("systemd_service", {"name": "a.service", "state": state}) or []
        assert effect["declared"] == {"running": running}
    assert effects_of("systemd_service", {"daemon_reload": True}) == []


@pytest.mark.parametrize("module", [*INEXPRESSIBLE, "shell", "raw", "community.general.anything"])
def test_what_cannot_be_expressed_is_unknown(module: str) -> None:
    assert effects_of(module, {"cmd": "true"}) is None


@pytest.mark.parametrize("module", NOTHING)
def test_what_leaves_nothing_is_not_unknown(module: str) -> None:
    assert effects_of(f"ansible.builtin.{module}", {}) == []


@pytest.mark.parametrize("role", hostvars.ROLES)
def test_roles_use_modules_of_the_closed_list_only(role: str) -> None:
    assert modules_of(role) == set()


@pytest.mark.parametrize("role", hostvars.ROLES)
def test_nothing_that_is_not_played_is_unknown(role: str) -> None:
    """Image parts and handlers whose effect no module tells have it in the role's host/leaves.yml."""
    for host in carriers(role):
        baked = role in recipe.FLAVOURS[host.flavour]
        made = leavings(role, hostvars.of_role(LAB, host, role), baked=baked)
        assert made.unknown == [], host.name
        assert all("{" not in each.name for each in made.subjects)


def test_what_an_image_brings_is_read_with_the_names_of_its_files() -> None:
    host = carriers("slurm_compute")[0]
    made = leavings("slurm_compute", hostvars.of_role(LAB, host, "slurm_compute"), baked=True)
    names = {each.name: each.owner for each in made.subjects}
    assert names["/etc/systemd/system/slurmd.service.d/10-pachon.conf"] == "Install the drop-ins of units"
    assert names["/usr/lib/pachon/pipelines/calibration.yaml"] == "Install the pipelines"
    assert "/etc/munge/munge.key" not in names, "it is taken out of images only"
    assert leavings("slurm_compute", {}, baked=False).subjects == []


def test_what_a_play_will_lay_down_is_read_from_its_text() -> None:
    host = carriers("slurm_compute")[0]
    made = foreseen("slurm_compute", hostvars.of_role(LAB, host, "slurm_compute"), host_only=True)
    assert [(each.kind, each.name) for each in made] == [
        ("file", "/etc/munge/munge.key"),
        ("file", "/etc/default/slurmd"),
        ("file", "/etc/pachon/campaign.rsync"),
        ("unit", "slurmd.service"),
    ]
    whole = foreseen("slurm_compute", hostvars.of_role(LAB, host, "slurm_compute"), host_only=False)
    assert ("file", "/usr/libexec/pachon/slurm-known") in {(each.kind, each.name) for each in whole}


@pytest.mark.parametrize("role", hostvars.ROLES)
def test_every_task_of_a_role_can_be_foreseen(role: str) -> None:
    for host in carriers(role):
        assert unforeseen(role, hostvars.of_role(LAB, host, role)) == []


def test_what_images_bring_is_read_anew_with_the_texts_of_roles(tmp_path: Path) -> None:
    """A site's server lives on while they are edited, and by this it knows what stays where a host loses a role."""
    tasks = tmp_path / "roles" / "one" / "tasks" / "image.yml"
    tasks.parent.mkdir(parents=True)
    tasks.write_text("- name: Old\n")
    assert image_tasks_of("one", tmp_path) == {"Old"}
    tasks.write_text("- name: New\n")
    read_anew()
    assert image_tasks_of("one", tmp_path) == {"New"}
