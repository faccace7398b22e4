"""Whatever stands in the files: a facility or complaints, never another exception, never a long wait."""

import random
import re
import shutil
from pathlib import Path

import pytest

from pachon.definition import examine, find, load
from pachon.errors import DefinitionError, UsageError

WORLD = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world"
FACILITY = WORLD / "facilities" / "small"
FILES = sorted(path.relative_to(FACILITY) for path in FACILITY.rglob("*.*") if path.is_file())
SITE = "sites/one/site.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(WORLD, tmp_path / "world")
    return tmp_path / "world" / "facilities" / "small"


def complaints(folder: Path) -> list[str]:
    return [str(complaint).removeprefix(f"{folder}/") for complaint in examine(folder).complaints]


def test_files_saved_by_a_spreadsheet_with_byte_order_mark_and_crlf_are_read(folder: Path) -> None:
    for file in FILES:
        text = (folder / file).read_text()
        (folder / file).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert complaints(folder) == []


def test_aliases_of_aliases_do_not_fill_the_memory(folder: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    (folder / SITE).write_text(bomb)
    assert complaints(folder)[0].startswith(f"{SITE}:1: more than 100000 values")


def test_an_alias_of_itself_ends(folder: Path) -> None:
    (folder / SITE).write_text("title: &a [*a]\n")
    assert any("nested deeper" in complaint for complaint in complaints(folder))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(folder: Path, opening: str) -> None:
    (folder / SITE).write_text("title: " + opening * 50_000)
    assert complaints(folder)


def test_a_number_of_five_thousand_digits_is_refused_with_its_line(folder: Path) -> None:
    text = (folder / SITE).read_text()
    (folder / SITE).write_text(text.replace("count: 2", "count: " + "9" * 5000))
    (said,) = complaints(folder)
    assert said.startswith(f"{SITE}:52: count is '99999")
    assert len(said) < 200


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "1e9", "0x10", "٣", "1_0", "inf", "", "NaN"])
def test_odd_numbers_in_a_table_are_refused_or_read_but_never_raise(folder: Path, number: str) -> None:
    path = folder / "sites/one/machines.csv"
    path.write_text(path.read_text().replace("container,1,512,198.19.12.42", f"container,1,{number},198.19.12.42"))
    assert any(said.startswith("sites/one/machines.csv:3: ") for said in complaints(folder)) or number == "1_0"


@pytest.mark.parametrize(
    "content", [b"\x00", b"\xff\xfe\x00", b"\x1b[31m", b"a: \x07", b"\xed\xa0\x80", b"%YAML 9.9\n---"]
)
@pytest.mark.parametrize("file", [SITE, "facility.yaml", "sites/one/nics.csv"])
def test_bytes_that_are_no_text_are_complained_about(folder: Path, content: bytes, file: str) -> None:
    (folder / file).write_bytes(content)
    assert any(said.startswith(f"{file}:") for said in complaints(folder))


def test_a_folder_in_the_place_of_a_file_is_complained_about(folder: Path) -> None:
    (folder / SITE).unlink()
    (folder / SITE).mkdir()
    assert complaints(folder)[0].startswith(f"{SITE}:1: the file cannot be read")


def test_a_link_to_itself_is_complained_about(folder: Path) -> None:
    (folder / SITE).unlink()
    (folder / SITE).symlink_to(folder / SITE)
    assert complaints(folder)[0].startswith(f"{SITE}:1: the file cannot be read")


def test_a_file_too_large_to_be_a_definition_is_not_read(folder: Path) -> None:
    with (folder / SITE).open("wb") as file:
        file.truncate(1 << 30)
    assert "more than" in complaints(folder)[0]


def test_terminal_codes_never_come_out_of_a_complaint(folder: Path) -> None:
    text = (folder / SITE).read_text()
    (folder / SITE).write_text(text.replace("name: one-adm01", 'name: "\\e[31mred\\u202e"'))
    assert all(said.isprintable() and "\x1b" not in said for said in complaints(folder))


def test_a_folder_that_is_not_there_is_a_definition_error(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="there is no such folder"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "labb", "../lab", "/", "\x00", "a" * 5000, "lab/../lab/x"])
def test_a_name_of_no_facility_is_a_usage_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        find(name)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of the accidents and malices that befall files."""
    tokens = [
        b"\x00",
        b"\xff",
        b"'",
        b'"',
        b": ",
        b"- ",
        b"[",
        b"{",
        b"&a ",
        b"*a",
        b"!!int ",
        b"<<: ",
        b"\t",
        b"\n",
        b",",
    ]
    tokens += [
        b"9" * 30,
        b"-1",
        b"null",
        b"true",
        b"~",
        b"../..",
        b"198.19.12.66",
        b"10GB",
        "ü".encode(),
        b"#",
        b"one",
        b"M1",
    ]
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        until = min(len(data), at + chance.randint(0, 12))
        lines = data.splitlines(keepends=True)
        match chance.randrange(12):
            case 0:
                data = data[:at] + data[until:]
            case 1:
                data = data[:at] + chance.choice(tokens) + data[at:]
            case 2:
                data = data[:at] + chance.choice(tokens) + data[until:]
            case 3 if lines:
                data = b"".join(line for line in lines if chance.random() > 0.05)
            case 4 if lines:
                line = chance.choice(lines)
                data = b"".join([*lines, line])
            case 5:
                chance.shuffle(lines)
                data = data[: at or None] if chance.random() < 0.5 else b"".join(lines)
            case _:
                words = list(re.finditer(rb"[A-Za-z0-9_./:-]+", data))
                if words:
                    out, into = chance.choice(words), chance.choice(words)
                    data = data[: out.start()] + into[0] + data[out.end() :]
    return data


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_gives_complaints_or_a_facility_and_nothing_else(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        damaged = chance.sample(FILES, chance.randint(1, 3))
        for file in damaged:
            (folder / file).write_bytes(mutate((FACILITY / file).read_bytes(), chance))
        try:
            load(folder)
        except DefinitionError as error:
            assert error.complaints
            assert all(complaint.wrong and complaint.right and complaint.line > 0 for complaint in error.complaints)
        for file in damaged:
            shutil.copyfile(FACILITY / file, folder / file)
