"""Answers as text and as JSON."""

import io
import json
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pachon.bmcs import compare
from pachon.cli.answer import Answer, Table, cell, show
from pachon.definition import load
from pachon.drivers.redfish import BootSetting, BootSource, Drive, Inventory, Port, Power
from pachon.places import CHECKOUT


@dataclass(frozen=True)
class Thing:
    name: str
    at: IPv4Address
    path: Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


WIDE = Table(("name", "why"), [("a", "word " * 40), ("b", "")], folds=("why",))


def test_json_is_one_line_of_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(value=[Thing("é", IPv4Address("10.0.0.1"), Path("/x"))], text=["never"]), as_json=True)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == [{"name": "é", "at": "10.0.0.1", "path": "/x"}]


def test_table_in_a_pipe_fits_80_columns_without_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("FORCE_COLOR", "1")
    show(Answer(value=None, text=[WIDE]), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    assert lines[-1] == "b     -"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("", "")])
def test_colour_is_for_terminals_that_want_it(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    if variable:
        monkeypatch.setenv(variable, value)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    show(Answer(value=None, text=[WIDE]), as_json=False)
    assert ("\x1b" in terminal.getvalue()) is not bool(variable)


def test_cells_show_nothing_as_a_dash_and_lists_by_commas() -> None:
    assert [cell(value) for value in (None, "", (), ("a", "b"), True, 3)] == ["-", "-", "-", "a, b", "yes", "3"]


def test_markup_in_values_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(Answer(value=None, text=[Table(("name",), [("[red]x[/red]",)])]), as_json=False)
    assert "[red]x[/red]" in capsys.readouterr().out


def test_machine_that_differs_from_its_row_is_told_fact_by_fact() -> None:
    machine = load(CHECKOUT / "tests" / "cases" / "cli" / "small").machines[0]
    found = Inventory(
        serial="S1",
        uuid="",
        manufacturer="Pachon",
        model="container",
        power=Power.ON,
        asset_tag="",
        bios="",
        cpus=4,
        memory_mib=512,
        nics=(Port(name="1", mac="02:19:28:00:00:01"), Port(name="2", mac="02:19:28:00:00:99")),
        disks=(Drive(name="d0", serial="DS1A", size_bytes=4 << 30, media="SSD"),),
        boot=BootSetting(source=BootSource.NONE, once=False, uri=""),
        tls_sha256="",
    )
    differing = {fact.fact: (fact.defined, fact.found) for fact in compare(machine, found) if not fact.same}
    assert differing == {
        "cpus": ("2", "4"),
        "disk vdb": ("DS1B 4 GiB", ""),
        "nic 2": ("", "02:19:28:00:00:99"),
    }
