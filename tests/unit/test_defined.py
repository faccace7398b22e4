"""A facility that is kept between commands: the same as one that was just examined, or examined anew."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pydantic
import pytest

from pachon import defined, definition, program_text
from pachon.checks import check
from pachon.definition.catalogue import read
from pachon.definition.loading import catalogue_of
from pachon.errors import DefinitionError
from pachon.plan.making import definition_of

WORLD = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A facility of which something stands here, loaded once; the program is not edited meanwhile."""
    monkeypatch.setattr(program_text, "is_what_runs", lambda *folders: True)
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    shutil.copytree(WORLD, tmp_path / "world")
    found = tmp_path / "world" / "facilities" / "small"
    (tmp_path / "state" / definition.load(found).name).mkdir(parents=True)
    defined.load(found)
    return found


@pytest.fixture
def examined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A line for each time that the files are examined."""
    told: list[Path] = []
    real = defined._examined

    def noted(path: Path, existing: Mapping[str, str]) -> defined.Defined:
        told.append(path)
        return real(path, existing)

    monkeypatch.setattr(defined, "_examined", noted)
    return told


def kept(folder: Path) -> Path:
    return Path(str(folder.parents[2] / "state" / definition.load(folder).name)) / defined.FOLDER / "plain.json"


def test_it_is_the_facility_and_the_notes_that_the_files_give(folder: Path, examined: list[Path]) -> None:
    found = defined.load(folder)
    assert examined == []
    fresh = definition.load(folder)
    assert found.facility == fresh
    assert definition_of(found.facility) == definition_of(fresh), "plans of both are the same bytes"
    notes = check(fresh, read(catalogue_of(folder)).services)
    assert list(found.notes) == [f"{note.address}: {note.message}; {note.cure}" for note in notes]
    assert kept(folder).stat().st_mode & 0o777 == 0o600


def comment(path: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / path
        file.write_text(file.read_text() + "\n")

    change.__name__ = path
    return change


def further_file(folder: Path) -> None:
    (folder / "sites" / "one" / "notes.txt").write_text("x")


def further_folder(folder: Path) -> None:
    (folder / "sites" / ".x").mkdir()


def changed_service(folder: Path) -> None:
    file = next((folder.parents[1] / "catalogue").glob("*/service.yaml"))
    file.write_text(file.read_text() + "\n")


def other_place(folder: Path) -> None:
    """Behind a link the files are others now."""
    site = folder / "sites" / "one"
    site.rename(folder.parents[2] / "elsewhere")
    site.symlink_to(folder.parents[2] / "elsewhere")
    defined.load(folder)
    file = folder.parents[2] / "elsewhere" / "site.yaml"
    file.write_text(file.read_text() + "\n# another\n")


CHANGES: tuple[Callable[[Path], None], ...] = (
    comment("facility.yaml"),
    *(comment(f"sites/one/{name}") for name in ("cables.csv", "disks.csv", "machines.csv", "nics.csv", "site.yaml")),
    further_file,
    further_folder,
    changed_service,
    other_place,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_whatever_changes_has_it_examined_again(
    change: Callable[[Path], None], folder: Path, examined: list[Path]
) -> None:
    change(folder)
    examined.clear()
    assert defined.load(folder).facility == definition.load(folder)
    assert len(examined) == 1
    defined.load(folder)
    assert len(examined) == 1


def test_program_python_roles_and_dealt_machines_count(
    folder: Path, examined: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(program_text, "version", lambda *folders: "another")
        defined.load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(pydantic, "VERSION", "another")
        defined.load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(defined, "ROLES", tmp_path)
        defined.load(folder)
    assert len(examined) == 3
    host = next(host for host in definition.load(folder).hosts)
    for _ in range(2):
        defined.load(folder, existing={host.name: host.machine})
    assert len(examined) == 4
    defined.load(folder)
    assert len(examined) == 5, "of the last one that was kept in the place of the one without"


def test_a_mistake_is_complained_about_each_time(folder: Path) -> None:
    file = folder / "sites" / "one" / "machines.csv"
    file.write_text(file.read_text().replace(",", ";", 1))
    for _ in range(2):
        with pytest.raises(DefinitionError):
            defined.load(folder)


@pytest.mark.parametrize("garble", ["gone", "cut", "flipped", "no head", "of another", "folder"])
def test_what_is_garbled_is_not_believed(garble: str, folder: Path, examined: list[Path]) -> None:
    path = kept(folder)
    whole = path.read_bytes()
    head, _, body = whole.partition(b"\n")
    match garble:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(whole[:-9])
        case "flipped":
            path.write_bytes(head + b"\n" + body.replace(b'"one-adm01"', b'"one-adm02"', 1))
        case "no head":
            path.write_bytes(body)
        case "of another":
            path.write_bytes(b'{"key": "", "body": "", "notes": []}\n' + body)
        case _:
            path.unlink()
            path.mkdir()
    assert defined.load(folder).facility == definition.load(folder)
    assert len(examined) == 1


def test_a_killed_writer_leaves_what_was_kept_before(
    folder: Path, examined: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def die(self: Path, target: Path) -> None:
        raise KilledError

    whole, path = kept(folder).read_bytes(), kept(folder)
    comment("facility.yaml")(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(KilledError):
            defined.load(folder)
    assert path.read_bytes() == whole
    assert len(list(path.parent.iterdir())) == 2
    assert defined.load(folder).facility == definition.load(folder)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_where_nothing_stands_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    small = WORLD / "facilities" / "small"
    assert defined.load(small).facility == definition.load(small)
    assert not (tmp_path / "state").exists()


def test_files_that_change_while_they_are_read_are_not_kept(
    folder: Path, examined: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = defined._examined
    comment("facility.yaml")(folder)

    def meanwhile(path: Path, existing: Mapping[str, str]) -> defined.Defined:
        made = real(path, existing)
        comment("sites/one/site.yaml")(folder)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(defined, "_examined", meanwhile)
        defined.load(folder)
    examined.clear()
    defined.load(folder)
    assert len(examined) == 1
