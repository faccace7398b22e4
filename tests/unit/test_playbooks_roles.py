"""How roles are written: what is baked, what is the host's own, and how an interrupted play is taken up."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pachon import definition, hostvars
from pachon.places import CHECKOUT

ROLES = CHECKOUT / "playbooks" / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "tasks").is_dir())
LAB = definition.load(definition.find("lab"))
IMAGE_TASK = {
    "name": "Lay down what the image brings",
    "ansible.builtin.import_tasks": "image.yml",
    "tags": ["image"],
}
HOST_TASK = {"name": "Set what is the host's own", "ansible.builtin.import_tasks": "host.yml"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else []


def tasks(role: str, file: str) -> list[dict[str, Any]]:
    return list(load(ROLES / role / "tasks" / file) or [])


def handlers(role: str) -> list[dict[str, Any]]:
    return list(load(ROLES / role / "handlers" / "main.yml") or [])


def told(role: str) -> set[str]:
    """Arguments that differ from host to host."""
    carriers = [host for host in LAB.hosts if role in hostvars.roles_of(host)]
    return {key for host in carriers for key in hostvars.of_role(LAB, host, role)}


@pytest.mark.parametrize("role", NAMES)
def test_a_role_is_its_image_part_then_its_host_part(role: str) -> None:
    folder = ROLES / role / "tasks"
    parts = [(folder / "image.yml", IMAGE_TASK), (folder / "host.yml", HOST_TASK)]
    assert tasks(role, "main.yml") == [task for path, task in parts if path.exists()]
    assert tasks(role, "main.yml")


@pytest.mark.parametrize("role", NAMES)
def test_what_is_baked_depends_on_no_host(role: str) -> None:
    """Nothing that image.yml says or uses names an argument that differs from host to host."""
    folder = ROLES / role
    book = folder / "tasks" / "image.yml"
    if not book.exists():
        return
    used = [path for part in ("files", "templates") for path in (folder / part).rglob("*") if path.is_file()]
    for path in [book, *(path for path in used if path.name in book.read_text())]:
        text = path.read_text(errors="replace")
        assert not [key for key in told(role) if key in text], path
        assert "host" not in path.relative_to(folder).parts[1:-1], f"{path} is left out of the image's key"


@pytest.mark.parametrize("role", [role for role in NAMES if handlers(role)])
def test_an_interrupted_play_is_taken_up(role: str) -> None:
    """A play that ended between a task and its handler: the next one says so, and every handler of the role runs."""
    settle = f"settle {role}"
    assert [handler["name"] for handler in handlers(role) if settle not in _listed(handler.get("listen"))] == []
    first = tasks(role, "host.yml")[0]
    assert first["name"] == "Take up what an interrupted play left"
    assert (first["changed_when"], first["when"], first["notify"]) == (f"{role}_settle", f"{role}_settle", settle)
    assert first["tags"] == ["settle"], "pachon leaves the task out where nothing is to be taken up"
    assert load(ROLES / role / "defaults" / "main.yml")[f"{role}_settle"] is False


@pytest.mark.parametrize("role", NAMES)
def test_tasks_notify_handlers_that_there_are(role: str) -> None:
    known = {handler["name"] for handler in handlers(role)} | {f"settle {role}"}
    for task in tasks(role, "image.yml") + tasks(role, "host.yml"):
        assert set(_listed(task.get("notify"))) <= known


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)] if value else []


FOREIGN = re.compile(
    r"\b(hostvars|groups\[|group_names|ansible_facts|ansible_(?!connection\b|managed\b|builtin\b)\w+|vars\[)"
)
"""Input that no argument declares: facts, other hosts, whatever the inventory has."""


def undeclared(folder: Path) -> list[str]:
    """What a role's tasks, handlers and templates take that is no argument of it."""
    parts = [
        path for part in ("tasks", "handlers", "templates") for path in (folder / part).rglob("*") if path.is_file()
    ]
    return [f"{path.name}: {found[0]}" for path in parts for found in FOREIGN.finditer(path.read_text())]


@pytest.mark.parametrize("role", NAMES)
def test_a_role_takes_all_its_input_through_its_arguments(role: str) -> None:
    assert undeclared(ROLES / role) == []


@pytest.mark.parametrize(
    "said", ["hostvars[inventory_hostname]", "groups['all']", "ansible_facts.os", "ansible_hostname"]
)
def test_input_that_no_argument_declares_is_found(said: str, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.j2").write_text(f"x = {{{{ {said} }}}}\n")
    assert len(undeclared(tmp_path)) == 1
