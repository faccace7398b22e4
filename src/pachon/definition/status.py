"""The table in the README that says which services work: derived from the tests that prove it.

``python -m pachon.definition.status`` writes it between its markers; with ``--check`` it says whether it is current.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from pachon import places
from pachon.definition.catalogue import load
from pachon.errors import PachonError, UsageError
from pachon.model.service import Service, ServiceGroup

BEGIN, END = "<!-- services:begin -->", "<!-- services:end -->"

GROUP_TITLES = {
    ServiceGroup.LEVEL_1: "Level 1 services",
    ServiceGroup.LEVEL_2: "Level 2 services",
    ServiceGroup.DATA_BACKBONE: "Data Backbone services",
    ServiceGroup.DATA_ACCESS_HOSTING: "Data access hosting services",
    ServiceGroup.DEVELOPMENT_SUPPORT: "Development support services",
    ServiceGroup.MISCELLANEOUS: "Miscellaneous services",
    ServiceGroup.ITC: "ITC provisioning and management",
    ServiceGroup.SERVICE_MANAGEMENT: "Service management processes",
}


class Status(StrEnum):
    """Whether a service works, as far as tests show."""

    WORKS = "works"
    PLANNED = "planned"
    UNPROVEN = "unproven"
    """Its entry names a test that is not there."""


def has_test(name: str, checkout: Path = places.CHECKOUT) -> bool:
    """Whether there is a test of that name (``tests/…/test_x.py::test_y``) in the checkout."""
    file, *inside = name.split("::")
    path = checkout / file
    if not path.is_file():
        return False
    text = path.read_text()
    return all(re.search(rf"^\s*(async\s+)?(def|class)\s+{re.escape(part)}\b", text, re.MULTILINE) for part in inside)


def status_of(service: Service, exists: Callable[[str], bool] = has_test) -> Status:
    """A service's status from the tests that its entry names."""
    if not service.proof:
        return Status.PLANNED
    return Status.WORKS if all(exists(name) for name in service.proof) else Status.UNPROVEN


def status_table(catalogue: Mapping[str, Service], exists: Callable[[str], bool] = has_test) -> str:
    """Markdown: one row for each service, by group, with its status and the tests that prove it."""
    services = sorted(
        catalogue.values(), key=lambda service: (list(ServiceGroup).index(service.group), service.numbers)
    )
    statuses = {service.name: status_of(service, exists) for service in services}
    working = sum(status is Status.WORKS for status in statuses.values())
    lines = [
        f"{working} of {len(services)} services work; the others are planned.",
        "",
        "| group | service | tier | status | shown by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for service in services:
        proof = "<br>".join(f"`{name}`" for name in service.proof) or "-"
        title = f"[{service.title}](inventory/catalogue/{service.name}/service.yaml)"
        group = GROUP_TITLES[service.group]
        lines.append(f"| {group} | {title} | {service.tier} | {statuses[service.name]} | {proof} |")
    return "\n".join(lines) + "\n"


def with_table(text: str, table: str) -> str:
    """A page with the table between its markers.

    Raises:
        UsageError: the markers are not there, once each and in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError("the page has no place for the services", cure=f"write {BEGIN} and, below it, {END}")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.partition(END)[2]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 when ``--check`` found the table not current."""
    parser = argparse.ArgumentParser(prog="python -m pachon.definition.status", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the table is current")
    parser.add_argument("page", nargs="?", type=Path, default=places.CHECKOUT / "README.md", help="default README.md")
    given = parser.parse_args(arguments)
    try:
        text = given.page.read_text()
        wanted = with_table(text, status_table(load()))
    except PachonError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    if text == wanted:
        return 0
    if given.check:
        sys.stderr.write(
            f"{given.page.name}:1: the services are not current; run 'python -m pachon.definition.status'\n"
        )
        return 1
    given.page.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
