"""What is sent to a site's controller: the program with all that it imports, whole or not at all."""

import asyncio
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pachon import places
from pachon.drivers import parcel
from pachon.errors import TemporaryError
from pachon.handover import HOME, WRAPPER


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's parcel, unpacked where it will live as far as its own words know."""
    top = tmp_path_factory.mktemp("parcel")
    home = top / "home"
    _, file = parcel.of_program(top / "cache", home=str(home))
    home.mkdir()
    plain = top / "program.tar"
    subprocess.run(["zstd", "-q", "-d", str(file), "-o", str(plain)], check=True)
    with tarfile.open(plain) as archive:
        archive.extractall(home)
    (home / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    return home


def test_the_program_runs_from_its_parcel_alone(unpacked: Path, tmp_path: Path) -> None:
    facility = Path(places.CHECKOUT / "inventory" / "facilities" / "lab")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PACHON_HARDWARE": "racks"}
    done = subprocess.run(
        [str(unpacked / ".venv" / "bin" / "pachon"), "check", str(facility)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    clusters = "from pachon.drivers import kubernetes as k; k.Cluster('a', k.Access('', Path(), Path(), Path()))"
    told_missing = f"""\
from pathlib import Path
from pachon.errors import MissingError
try:
    {clusters}
except MissingError:
    pass
"""
    where = f"{told_missing}import pachon, ansible, pulumi, alembic; print(pachon.__file__)"
    told = subprocess.run(
        [str(unpacked / ".venv" / "bin" / "python"), "-c", where],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(unpacked / "src" / "pachon" / "__init__.py")


def test_the_parcel_holds_no_tool_of_developers_and_nothing_of_this_machine(unpacked: Path) -> None:
    library = unpacked / parcel.LIBRARY
    assert not [name for name in ("mypy", "ruff", "hypothesis", "ansiblelint") if (library / name).exists()]
    assert not list(unpacked.rglob("*.egg-link"))
    assert str(places.CHECKOUT) not in (library / "pachon.pth").read_text()


def test_a_parcel_is_made_once_and_anew_when_what_is_in_it_changed(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    parcel.pack({"a": first}, tmp_path / "p.tar.zst")
    before = (tmp_path / "p.tar.zst").read_bytes()
    second.write_text("two")
    parcel.pack({"a": first, "in/b": second}, tmp_path / "p.tar.zst")
    assert (tmp_path / "p.tar.zst").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "p.tar.zst"]


def test_a_program_that_is_edited_while_it_is_packed_makes_no_parcel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parcel would hold some files of before the edit, and some of after it, under a name of before it."""
    text, cache, packed = tmp_path / "main.yml", tmp_path / "cache", parcel.pack
    text.write_text("before")
    monkeypatch.setattr(parcel, "_checkout", lambda: [("main.yml", text)])
    monkeypatch.setattr(parcel, "_libraries", list)
    edits: list[Callable[[], object]] = [lambda: text.write_text("after all"), text.unlink]

    def pack(contents: parcel.Contents, place: Path) -> None:
        if edits:
            edits.pop(0)()
        packed(contents, place)

    monkeypatch.setattr(parcel, "pack", pack)
    for _ in range(2):
        with pytest.raises(TemporaryError, match="while it was packed") as caught:
            parcel.of_program(cache, home="/home")
        assert caught.value.cure
        assert not list((cache / "parcels").iterdir())
    text.write_text("the end")
    name, file = parcel.of_program(cache, home="/home")
    assert [file] == list((cache / "parcels").iterdir())
    assert file.name == f"program-{name}.tar.zst"


def test_a_host_that_takes_nothing_more_is_an_error_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tmp_path / "ssh"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(parcel, "SENDING", timedelta(seconds=0.2))
    with pytest.raises(TemporaryError, match="base-adm01 has not taken") as caught:
        asyncio.run(parcel.ask("true", ssh_config=tmp_path / "config", host="base-adm01"))
    assert "answers" in caught.value.cure


def test_the_wrapper_is_a_script_of_plain_shell() -> None:
    text = WRAPPER.format(site="base", facility="lab", kept="/srv/pachon", home=HOME)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert "{" not in text.replace("${", "")
    assert sys.version_info[:2] == (3, 11), "hosts have the distribution's Python; parcels are made for it"
