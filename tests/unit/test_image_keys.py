"""What makes an image be baked anew, and what must not."""

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from infra.image import recipe
from infra.image.keys import PLAYBOOKS, Keys, keys, roles_beyond_server
from infra.toolchain import programs
from pachon.places import CHECKOUT


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PLAYBOOKS, tmp_path / "playbooks"))


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent"
    path.mkdir()
    (path / "main.py").write_text("print('agent')\n")
    return path


def changed(before: Keys, after: Keys) -> set[str]:
    """Names of the stages whose key is another."""
    return {name for name, value in asdict(before).items() if value != asdict(after)[name]}


def test_a_changed_role_bakes_trees_and_roots_only(playbooks: Path, agent: Path) -> None:
    before = keys("server", playbooks=playbooks, agent=agent)
    with (playbooks / "roles/base/defaults/main.yml").open("a") as stream:
        stream.write("# more\n")
    assert changed(before, keys("server", playbooks=playbooks, agent=agent)) == {"server", "tree", "root"}


def test_a_role_of_one_flavour_leaves_the_other_alone(playbooks: Path, agent: Path) -> None:
    server = keys("server", playbooks=playbooks, agent=agent)
    switch = keys("switch", playbooks=playbooks, agent=agent)
    with (playbooks / "roles/switch/tasks/main.yml").open("a") as stream:
        stream.write("# more\n")
    assert changed(server, keys("server", playbooks=playbooks, agent=agent)) == set()
    assert changed(switch, keys("switch", playbooks=playbooks, agent=agent)) == {"tree", "root"}


def test_tests_and_tables_of_contents_are_not_baked(playbooks: Path, agent: Path) -> None:
    before = keys("switch", playbooks=playbooks, agent=agent)
    (playbooks / "README.md").write_text("new\n")
    (playbooks / "site.yml").write_text("---\n[]\n")
    (playbooks / "roles/base/tests/test_more.py").write_text("pass\n")
    assert changed(before, keys("switch", playbooks=playbooks, agent=agent)) == set()


def test_a_changed_agent_bakes_the_deploy_image_only(playbooks: Path, agent: Path) -> None:
    before = keys("server", playbooks=playbooks, agent=agent)
    (agent / "main.py").write_text("print('better agent')\n")
    assert changed(before, keys("server", playbooks=playbooks, agent=agent)) == {"deploy"}


def test_newer_packages_bake_everything(playbooks: Path, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys("server", playbooks=playbooks, agent=agent)
    monkeypatch.setattr(recipe, "AS_OF", "2099-01-01")
    assert changed(before, keys("server", playbooks=playbooks, agent=agent)) == set(asdict(before))


def test_flavours_are_the_server_and_more() -> None:
    for flavour, roles in recipe.FLAVOURS.items():
        assert roles[: len(recipe.FLAVOURS["server"])] == recipe.FLAVOURS["server"]
        assert roles == (*recipe.FLAVOURS["server"], *roles_beyond_server(flavour))


def test_another_checkout_of_the_same_sources_has_the_same_keys(tmp_path: Path) -> None:
    for name in ("infra", "playbooks", "src", "ansible.cfg"):
        source, target = CHECKOUT / name, tmp_path / "elsewhere" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    program = "from infra.image.keys import keys; print([keys('server'), keys('switch')])"
    environment = {"PYTHONPATH": f"{tmp_path / 'elsewhere' / 'src'}:{tmp_path / 'elsewhere'}", "PATH": os.defpath}
    argv = [sys.executable, "-c", program]
    said = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([keys("server"), keys("switch")])


def test_a_program_of_one_flavour_leaves_the_images_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {flavour: keys(flavour) for flavour in recipe.FLAVOURS}
    monkeypatch.setattr(recipe, "FLAVOUR_PROGRAMS", {"kubernetes": {"kube": ("kubectl",)}})
    after = {flavour: keys(flavour) for flavour in recipe.FLAVOURS}
    assert changed(before["kubernetes"], after["kubernetes"]) == {"tree", "root"}
    assert [flavour for flavour in recipe.FLAVOURS if before[flavour] != after[flavour]] == ["kubernetes"]


def test_another_version_of_a_program_bakes_its_flavour_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before, table = keys("kubernetes"), programs.table()
    newer = {name: replace(program, version="99.0.0") for name, program in table.items()}
    monkeypatch.setattr(programs, "table", lambda: newer)
    assert changed(before, keys("kubernetes")) == {"tree", "root"}
