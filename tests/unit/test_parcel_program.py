"""What is sent to a site's controller: the program with all that it imports, whole or not at all."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pachon import places
from pachon.drivers import parcel
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


def test_the_wrapper_is_a_script_of_plain_shell() -> None:
    text = WRAPPER.format(site="base", facility="lab", kept="/srv/pachon", home=HOME)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert "{" not in text.replace("${", "")
    assert sys.version_info[:2] == (3, 11), "hosts have the distribution's Python; parcels are made for it"
