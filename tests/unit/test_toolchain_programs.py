"""Where a program from outside is looked for, and in which order."""

import asyncio
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


def test_every_program_of_the_table_has_a_pinned_release_and_a_module_of_that_version() -> None:
    modules = (programs.TABLE.parent / "go.mod").read_text()
    for program in programs.table().values():
        assert program.releases, program.name
        for release in program.releases.values():
            assert len(release.sha256) == 64
            assert program.version in release.url
        assert program.version in program.ldflags
        assert f"tool {program.module}\n" in modules
        assert f"/v3 v{program.version}" in modules


def test_the_python_sdk_is_of_the_version_of_the_program() -> None:
    version = programs.table()["pulumi"].version
    checkout = programs.TABLE.parents[2]
    assert f'"pulumi=={version}"' in (checkout / "pyproject.toml").read_text()
    assert f"pulumi=={version} " in (checkout / "requirements.lock").read_text()


def test_a_release_is_for_this_processor() -> None:
    program = programs.table()["pulumi"]
    assert program.release is program.releases.get(platform.machine())
