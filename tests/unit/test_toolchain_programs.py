"""Where a program from outside is looked for, and in which order."""

import asyncio
import dataclasses
import platform
from pathlib import Path

import pytest

from infra.toolchain import programs
from infra.toolchain.programs import Program
from pachon.errors import MissingError

PINNED = Program(
    name="tool",
    version="1.2.3",
    version_arguments=("version",),
    version_pattern=r"^v(\S+)",
    module="",
    ldflags="",
    releases={},
)


def write_tool(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tool"
    path.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo v{version}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_program_on_path_in_the_pinned_version_comes_before_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = write_tool(tmp_path / "bin", "1.2.3")
    write_tool(programs.home(PINNED, cache=cache), "1.2.3")
    put_on_path(monkeypatch, tmp_path / "bin")
    found = programs.look(PINNED, cache=cache)
    assert found is not None
    assert (found.path, found.origin) == (on_path, "path")


def test_a_program_on_path_in_another_version_is_passed_over_for_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tool(tmp_path / "bin", "1.2.4")
    cached = write_tool(programs.home(PINNED, cache=cache), "1.2.3")
    put_on_path(monkeypatch, tmp_path / "bin")
    found = programs.look(PINNED, cache=cache)
    assert found is not None
    assert (found.path, found.origin) == (cached, "cache")


def test_a_program_that_changes_on_path_is_asked_for_its_version_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path(monkeypatch, tmp_path / "bin")
    write_tool(tmp_path / "bin", "1.2.3")
    assert programs.look(PINNED, cache=cache) is not None
    write_tool(tmp_path / "bin", "10.0.0")
    assert programs.look(PINNED, cache=cache) is None


def test_a_program_that_does_not_say_its_version_is_not_the_pinned_one(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = write_tool(tmp_path / "bin", "1.2.3")
    tool.write_text("#!/bin/sh\nexit 1\n")
    put_on_path(monkeypatch, tmp_path / "bin")
    assert programs.look(PINNED, cache=cache) is None


def test_finding_what_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHON_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(MissingError) as caught:
        programs.find("pulumi")
    assert "make setup" in caught.value.cure


def test_a_program_can_be_found_from_asynchronous_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = programs.table()["pulumi"].version
    tool = write_tool(tmp_path / "bin", version).rename(tmp_path / "bin" / "pulumi")
    put_on_path(monkeypatch, tmp_path / "bin")
    monkeypatch.setenv("PACHON_CACHE", str(tmp_path / "empty"))

    async def main() -> Path:
        return programs.find("pulumi")

    assert asyncio.run(main()) == tool


def test_every_program_of_others_has_a_pinned_release_and_a_module_of_that_version() -> None:
    modules = (programs.TABLE.parent / "go.mod").read_text()
    for program in programs.table().values():
        if program.sources:
            continue
        assert program.releases, program.name
        for release in program.releases.values():
            assert len(release.sha256) == 64
            assert program.version in release.url
        assert program.version in program.ldflags
        assert f"tool {program.module}\n" in modules
        assert f"/v3 v{program.version}" in modules


OWN = {"coredns": "github.com/coredns/coredns", "kube": "k8s.io/kubernetes"}
"""Programs of our own, and the module after whose version each is called."""


@pytest.mark.parametrize("name", OWN)
def test_a_program_of_our_own_is_called_after_its_foremost_module_and_made_on_demand(name: str) -> None:
    program = programs.table()[name]
    text = (program.folder / "go.mod").read_text()
    assert f"module {program.module}\n" in text
    assert f"{OWN[name]} v{program.version}\n" in text
    assert f"{OWN[name]} v{program.version} h1:" in (program.folder / "go.sum").read_text()
    assert program.on_demand
    assert not program.releases


def test_modules_of_kubernetes_are_all_of_one_release() -> None:
    program = programs.table()["kube"]
    text = (program.folder / "go.mod").read_text()
    published = f"v0.{program.version.partition('.')[2]}"
    replaced = [line.split() for line in text.splitlines() if "=>" in line]
    assert len(replaced) == 31
    assert {(line[0], line[2], line[3]) for line in replaced} == {(line[0], line[0], published) for line in replaced}


def test_a_program_of_our_own_is_made_anew_when_its_sources_change(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TABLE", tmp_path / "programs.toml")
    own = dataclasses.replace(PINNED, sources="own")
    (tmp_path / "own").mkdir()
    for name in programs.SOURCES:
        (tmp_path / "own" / name).write_text(name)
    write_tool(programs.home(own, cache=cache), "1.2.3")
    assert programs.look(own, cache=cache) is not None
    (tmp_path / "own" / "main.go").write_text("other")
    assert programs.look(own, cache=cache) is None


def test_a_program_of_our_own_is_not_taken_from_path(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TABLE", tmp_path / "programs.toml")
    (tmp_path / "own").mkdir()
    for name in programs.SOURCES:
        (tmp_path / "own" / name).write_text(name)
    write_tool(tmp_path / "bin", "1.2.3")
    put_on_path(monkeypatch, tmp_path / "bin")
    assert programs.look(dataclasses.replace(PINNED, sources="own"), cache=cache) is None


def test_what_to_do_about_a_program_on_demand_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHON_CACHE", str(tmp_path / "empty"))
    with pytest.raises(MissingError) as caught:
        programs.find("kube")
    assert "make program-kube" in caught.value.cure


def test_the_python_sdk_is_of_the_version_of_the_program() -> None:
    version = programs.table()["pulumi"].version
    checkout = programs.TABLE.parents[2]
    assert f'"pulumi=={version}"' in (checkout / "pyproject.toml").read_text()
    assert f"pulumi=={version} " in (checkout / "requirements.lock").read_text()


def test_a_release_is_for_this_processor() -> None:
    program = programs.table()["pulumi"]
    assert program.release is program.releases.get(platform.machine())
