"""Verification: the tests of roles on the hosts that carry them, in a few processes that hold few connections each.

pytest and testinfra run in processes of their own, so that a test that hangs is ended with its process, and what they
open does not count against ours. What they tell is folded here: a host that cannot be reached is said once.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

from pydantic import ValidationError

from pachon import hostvars, places
from pachon.definition import find, load
from pachon.drivers.program import run
from pachon.drivers.testinfra.orders import Orders, Outcome, Target
from pachon.errors import MissingError, PachonError, RefusedError, TemporaryError, UsageError
from pachon.ground import standing
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Host, Site
from pachon.progress import Event, Progress

ROLES = places.CHECKOUT / "playbooks" / "roles"
EVERY_HOST = Path(__file__).parent / "drivers" / "testinfra" / "every_host.py"
USER = "pachon"
ROLE_PREFIX = "role/"
"""Before the name of a role that is a site's name too."""
HOSTS_PER_WORKER = 8
"""A process of its own is worth while for so many hosts."""
HOST_SECONDS = 120
"""All tests of one host are allowed so long on average; past that the process is ended."""
STAGE = "verify"


class Verification(Frozen):
    """What came of the tests."""

    facility: str
    hosts: tuple[str, ...]
    """Hosts that were to be tested."""
    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """What is not as it should be."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict in {"failed", "unreachable"})

    @property
    def counts(self) -> dict[str, int]:
        """Number of tests by verdict."""
        return dict(Counter(outcome.verdict for outcome in self.outcomes))


def orders_of(wanted: str) -> Orders:
    """Orders for all active hosts of the facility with that name or path."""
    facility = load(find(wanted))
    return orders(facility, state=places.state(facility.name))


def orders(facility: Facility, *, state: Path, only: Sequence[str] = (), roles: Path = ROLES) -> Orders:
    """Orders for what is named; for all active hosts and all of their roles where nothing is.

    Sites, enclaves, hosts and groups say which hosts; roles say which tests, and so which hosts where nothing else
    does. A name that is both is the site's, ``role/NAME`` the role's; a group without tests of its own says hosts.

    Raises:
        UsageError: a name is none of these.
    """
    targets = [_target(facility, site, host) for site in facility.sites for host in site.active_hosts]
    carried = {role for target in targets for role in target.roles}
    tested = {role for role in carried if any((roles / role / "tests").glob("test_*.py"))}
    places_named: list[str] = []
    roles_named: list[str] = []
    for name in only:
        if name.startswith(ROLE_PREFIX) and name.removeprefix(ROLE_PREFIX) in carried:
            roles_named.append(name.removeprefix(ROLE_PREFIX))
        elif any(name in {target.site, target.name, target.enclave} for target in targets):
            places_named.append(name)
        elif name in tested:
            roles_named.append(name)
        elif any(name in target.groups for target in targets):
            places_named.append(name)
        else:
            raise UsageError(
                f"facility {facility.name!r} has no active site, enclave, host or role {name!r}",
                cure="'pachon host list' shows hosts with their sites and roles",
            )
    return Orders(
        facility=facility.name,
        domain=facility.domain,
        user=USER,
        key=state / "keys" / "automation",
        known_hosts=state / "known_hosts.plain",
        targets=tuple(target for target in targets if _meant(target, places_named, roles_named)),
        roles=tuple(sorted(set(roles_named))),
    )


def _target(facility: Facility, site: Site, host: Host) -> Target:
    return Target(
        name=host.name,
        site=site.name,
        enclave=host.enclave,
        address=str(site.machine_by_serial[host.machine].management_address),
        groups=host.groups,
        roles=hostvars.roles_of(host),
        arguments=hostvars.of(facility, host),
    )


def _meant(target: Target, places_named: Sequence[str], roles_named: Sequence[str]) -> bool:
    here = {target.site, target.name, target.enclave, *target.groups}
    return (not places_named or bool(here & {*places_named})) and (
        not roles_named or bool({*target.roles} & {*roles_named})
    )


def prepare(facility: Facility, state: Path) -> None:
    """Have what is needed to log in to the hosts: they stand, and our certificate is good for hours.

    Raises:
        MissingError: the facility does not stand, or nothing of it was deployed yet.
        RefusedError: the twin stands in for it.
    """
    from infra.boot import ca

    stands = asyncio.run(standing(facility, state))
    if stands.kind == "twin":
        raise RefusedError(
            f"the twin stands in for {facility.name!r}: its hosts have no operating systems to test",
            cure="use a machine that can bring up the lab; 'pachon doctor' says what this one lacks",
        )
    try:
        ca.ensure_automation_key(state, facility)
    except PachonError as error:
        raise MissingError(
            f"facility {facility.name!r} has no ssh authority on this machine yet", cure="run 'pachon up' first"
        ) from error


def test_files(targets: Sequence[Target], *, only: Sequence[str] = (), roles: Path = ROLES) -> list[Path]:
    """The test files of each role that one of the targets carries; and those of every host, unless roles are named."""
    carried = sorted(set(only) or {role for target in targets for role in target.roles})
    whole = [] if only else [EVERY_HOST]
    return [*whole, *(path for role in carried for path in sorted((roles / role / "tests").glob("test_*.py")))]


async def verify(given: Orders, *, progress: Progress, roles: Path = ROLES) -> Verification:
    """What the tests of all roles of the targets say."""
    started = time.monotonic()
    progress(Event(STAGE, "", "started", f"{len(given.targets)} hosts"))
    files = test_files(given.targets, only=given.roles, roles=roles)
    telling = _Telling(given, progress)
    with tempfile.TemporaryDirectory(prefix="pachon-verify-") as scratch:
        shards = _shards(given)
        done = await asyncio.gather(
            *(
                _work(shard, files, Path(scratch) / f"orders-{number}.json", told=telling.told)
                for number, shard in enumerate(shards)
            )
        )
    outcomes = tuple(outcome for part in done for outcome in part)
    verification = Verification(
        facility=given.facility,
        hosts=tuple(target.name for target in given.targets),
        outcomes=outcomes,
        seconds=round(time.monotonic() - started, 1),
    )
    said = ", ".join(f"{number} {verdict}" for verdict, number in sorted(verification.counts.items())) or "no tests"
    progress(Event(STAGE, "", "failed" if verification.failed else "done", said))
    return verification


def _shards(given: Orders) -> list[Orders]:
    number = max(1, min(os.cpu_count() or 1, 4, -(-len(given.targets) // HOSTS_PER_WORKER)))
    parts = [given.targets[index::number] for index in range(number)]
    return [given.model_copy(update={"targets": part}) for part in parts if part]


async def _work(
    shard: Orders, files: Sequence[Path], orders_file: Path, *, told: Callable[[Outcome], None]
) -> list[Outcome]:
    """Outcomes of one process; what it could not do any more is an outcome too."""
    orders_file.write_text(shard.model_dump_json())
    heard: list[Outcome] = []

    def line(text: str) -> None:
        try:
            outcome = Outcome.model_validate_json(text)
        except ValidationError:
            return
        heard.append(outcome)
        told(outcome)

    command = [sys.executable, "-m", "pytest", "--orders", str(orders_file), *PYTEST, *map(str, files)]
    limit = timedelta(seconds=60 + HOST_SECONDS * len(shard.targets))
    trouble: PachonError | None = None
    try:
        output = await run(command, timeout=limit, on_line=line, check=False, folder=orders_file.parent)
        if output.status not in {0, 1, 5}:
            said = (output.stderr.strip() or output.stdout.strip()).splitlines()[-3:]
            trouble = TemporaryError(
                f"pytest ended with status {output.status}: {' '.join(said)}", cure="see the message; run again"
            )
    except TemporaryError as error:
        trouble = error
    if trouble is not None:
        finished = {outcome.host for outcome in heard}
        for target in shard.targets:
            if target.name not in finished:
                lost = Outcome(
                    host=target.name, role="", test="", verdict="failed", seconds=0,
                    message=f"not tested: {trouble.message}", cure=trouble.cure,
                )  # fmt: skip
                heard.append(lost)
                told(lost)
    return heard


PYTEST = (
    "--disable-plugin-autoload",
    "--continue-on-collection-errors",
    "--import-mode=importlib",
    "--capture=sys",
    "-c",
    os.devnull,
    "--rootdir=/",
    "-p",
    "pachon.drivers.testinfra.plugin",
    "-p",
    "no:terminal",
    "-p",
    "no:cacheprovider",
    "-o",
    "python_files=*.py",
)  # fmt: skip


class _Telling:
    """Turns outcomes into events: every failure, and each host as it is done."""

    def __init__(self, given: Orders, progress: Progress) -> None:
        self._address = {target.name: f"{target.site}/host/{target.name}" for target in given.targets}
        self._seen: set[str] = set()
        self._progress = progress

    def told(self, outcome: Outcome) -> None:
        """Take in an outcome."""
        address = self._address.get(outcome.host, outcome.host)
        if outcome.host not in self._seen:
            self._seen.add(outcome.host)
            fraction = len(self._seen) / max(1, len(self._address))
            self._progress(Event(STAGE, "", "moving", address, fraction=min(1.0, fraction)))
        if outcome.verdict in {"failed", "unreachable"}:
            what = outcome.message if outcome.verdict == "unreachable" else f"{outcome.test}: {outcome.message}"
            self._progress(Event(STAGE, address, "failed", what))


def write_junit(verification: Verification, path: Path) -> None:
    """Write the outcomes as JUnit XML: a suite for each host, a case for each test."""
    counts = verification.counts
    root = ElementTree.Element("testsuites", name=f"pachon verify {verification.facility}")
    by_host: dict[str, list[Outcome]] = {name: [] for name in verification.hosts}
    for outcome in verification.outcomes:
        by_host.setdefault(outcome.host, []).append(outcome)
    for host, outcomes in by_host.items():
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=host or "all",
            tests=str(len(outcomes)),
            failures=str(sum(outcome.verdict == "failed" for outcome in outcomes)),
            errors=str(sum(outcome.verdict == "unreachable" for outcome in outcomes)),
            skipped=str(sum(outcome.verdict == "skipped" for outcome in outcomes)),
            time=f"{sum(outcome.seconds for outcome in outcomes):.3f}",
        )
        for outcome in outcomes:
            _case(suite, outcome)
    root.set("tests", str(len(verification.outcomes)))
    root.set("failures", str(counts.get("failed", 0)))
    root.set("errors", str(counts.get("unreachable", 0)))
    root.set("time", f"{verification.seconds:.3f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: ElementTree.Element, outcome: Outcome) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"{outcome.host}.{outcome.role or 'every_host'}",
        name=outcome.test or "tested",
        time=f"{outcome.seconds:.3f}",
    )
    told = {"failed": "failure", "unreachable": "error", "skipped": "skipped"}.get(outcome.verdict)
    if told is not None:
        detail = ElementTree.SubElement(case, told, message=_printable(outcome.message))
        detail.text = _printable(outcome.cure)


def _printable(text: str) -> str:
    """The text without what XML cannot hold."""
    return "".join(letter for letter in text if letter >= " " or letter in "\n\t")
