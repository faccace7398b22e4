"""The table in the README that says which services work: derived from the catalogue and the tests that prove it.

``python -m pachon.definition.status`` writes it between its markers; with ``--check`` it says whether it is current.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from pachon import places
from pachon.definition.catalogue import load
from pachon.errors import PachonError, UsageError
from pachon.model.service import Service, ServiceGroup, ServiceState

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
    DECLARED = "declared"
    """What it is to be is written down, and no more."""
    UNPROVEN = "unproven"
    """It is deployable, and names no test or one that is not there."""


def has_test(name: str, checkout: Path = places.CHECKOUT) -> bool:
    """Whether there is a test of that name (``tests/…/test_x.py::test_y``) in the checkout."""
    file, *inside = name.split("::")
    path = checkout / file
    if not path.is_file():
        return False
    text = path.read_text()
    return all(re.search(rf"^\s*(async\s+)?(def|class)\s+{re.escape(part)}\b", text, re.MULTILINE) for part in inside)


def status_of(service: Service, exists: Callable[[str], bool] = has_test) -> Status:
    """A service's status from what its entry says and from the tests that it names."""
    if service.state is ServiceState.DECLARED:
        return Status.DECLARED
    return Status.WORKS if service.proof and all(exists(name) for name in service.proof) else Status.UNPROVEN


def in_order(catalogue: Mapping[str, Service]) -> list[Service]:
    """The services by group, and in a group by their numbers."""
    groups = list(ServiceGroup)
    return sorted(catalogue.values(), key=lambda service: (groups.index(service.group), service.numbers))


def status_table(catalogue: Mapping[str, Service], exists: Callable[[str], bool] = has_test) -> str:
    """Markdown: one row for each service, by group: how it is deployed, the tests that prove it, what it lacks yet."""
    services = in_order(catalogue)
    statuses = {service.name: status_of(service, exists) for service in services}
    counted = Counter(statuses.values())
    unproven = f", {counted[Status.UNPROVEN]} deployable and unproven" if counted[Status.UNPROVEN] else ""
    lines = [
        f"{counted[Status.WORKS]} of {len(services)} services are deployable and work{unproven}; "
        f"{counted[Status.DECLARED]} are only declared.",
        "",
        "| group | service | tier | status | kind | shown by | does not do yet |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for service in services:
        proof = "<br>".join(f"`{name}`" for name in service.proof) or "-"
        title = f"[{service.title}](inventory/catalogue/{service.name}/service.yaml)"
        group = GROUP_TITLES[service.group]
        status, kind, lacks = statuses[service.name], service.kind or "-", "<br>".join(service.lacks) or "-"
        lines.append(f"| {group} | {title} | {service.tier} | {status} | {kind} | {proof} | {lacks} |")
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
