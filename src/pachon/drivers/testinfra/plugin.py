"""pytest plug-in: gives tests of roles the fixture ``host`` (testinfra's), once for each host that carries the role.

    pytest playbooks/roles --facility lab        all roles, on the hosts that carry each
    pytest playbooks/roles/storage -k base-      one role, at one site

A test file belongs to the role whose folder it lies in (``roles/<role>/tests/test_*.py``). ``target`` tells a test who
the host should be, ``arguments`` what its roles are told. It is loaded in every session of pytest (entry point), so it
does nothing until such a file is met. Verdicts go to stdout as lines of JSON when the orders came from a file, which is
how ``pachon verify`` runs it.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host  # type: ignore[import-untyped]  # it has no stubs

    from pachon.drivers.testinfra.connections import Connections
    from pachon.drivers.testinfra.orders import Orders, Outcome, Target

ORDERS: "pytest.StashKey[Orders]" = pytest.StashKey()
CONNECTIONS: "pytest.StashKey[Connections]" = pytest.StashKey()
REPORTED: pytest.StashKey[set[str]] = pytest.StashKey()
HOSTS: "pytest.StashKey[dict[str, Host]]" = pytest.StashKey()
"""By name; kept from test to test, since testinfra asks each of them anew what system it is."""
EVERY_HOST = "every_host.py"
"""Name of the file with the tests of every host, whatever its roles."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add ``--facility`` (for people) and ``--orders`` (for ``pachon verify``).

    Testinfra's own plug-in brings a fixture of the same name, so it is kept out; this hook is the last moment for it.
    """
    pluginmanager.set_blocked("pytest11.testinfra")
    group = parser.getgroup("pachon")
    group.addoption(
        "--facility", default="", help="facility whose hosts are tested (name or path; default PACHON_FACILITY, or lab)"
    )
    group.addoption("--orders", default="", help="file with the orders of 'pachon verify'")


def pytest_configure(config: pytest.Config) -> None:
    """Tell of outcomes where the orders are those of ``pachon verify``."""
    if config.getoption("--orders"):
        config.pluginmanager.register(Teller(), "pachon-teller")


def orders_of(config: pytest.Config) -> "Orders":
    """Which hosts are tested and how they are reached, found out when the first test of a role is met."""
    found = config.stash.get(ORDERS, None)
    if found is None:
        from pachon.drivers.testinfra.orders import Orders

        if path := config.getoption("--orders"):
            found = Orders.model_validate_json(Path(path).read_bytes())
        else:
            from pachon.errors import PachonError
            from pachon.verify import orders_of as all_of

            try:
                found = all_of(_wanted(config))
            except PachonError as error:
                raise pytest.UsageError(str(error)) from error
        config.stash[ORDERS] = found
    return found


def _wanted(config: pytest.Config) -> str:
    return str(config.getoption("--facility") or os.environ.get("PACHON_FACILITY") or "lab")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    connections = config.stash.get(CONNECTIONS, None)
    if connections is not None:
        connections.close()


def role_of(path: Path) -> str:
    """The role whose tests these are; empty: none's."""
    parts = path.parts
    if len(parts) >= 4 and parts[-2] == "tests" and parts[-4] == "roles":
        return parts[-3]
    return ""


def carriers(orders: "Orders", role: str) -> "list[Target]":
    """The hosts that the tests of a role are run on; those of no role are run on all."""
    return [target for target in orders.targets if not role or role in target.roles]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of roles that no host carries."""
    role = role_of(collection_path)
    return True if role and not carriers(orders_of(config), role) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One call for each host that carries the role; grouped by host, so that few connections are open."""
    if "target" in metafunc.fixturenames and _is_ours(metafunc.definition.path):
        targets = carriers(orders_of(metafunc.config), role_of(metafunc.definition.path))
        metafunc.parametrize("target", targets, ids=[target.name for target in targets], scope="session", indirect=True)


def _is_ours(path: Path) -> bool:
    return bool(role_of(path)) or path.name == EVERY_HOST


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> "Target":
    """The host as the definition has it."""
    found: Target = request.param
    return found


@pytest.fixture(scope="session")
def arguments(target: "Target") -> dict[str, Any]:
    """What the roles of the host are told, by name; secrets are named, never told."""
    return target.arguments


@pytest.fixture
def host(target: "Target", request: pytest.FixtureRequest) -> "Host":
    """Host of testinfra over a pooled connection; a host that cannot be reached fails one test and skips the rest."""
    from testinfra.host import Host

    from pachon.drivers.testinfra.connections import FleetBackend
    from pachon.errors import PachonError

    config = request.config
    connections, reported = config.stash[CONNECTIONS], config.stash[REPORTED]
    try:
        connections.reach(target)
    except PachonError as error:
        if target.name in reported:
            pytest.skip(f"{target.name} cannot be reached, as reported above")
        reported.add(target.name)
        request.node.user_properties.append(("unreachable", error.cure))
        pytest.fail(error.message, pytrace=False)
    hosts = config.stash[HOSTS]
    if target.name not in hosts:
        hosts[target.name] = Host(FleetBackend(target, connections))
    return hosts[target.name]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order by host, so that few connections are open, and note on each test what it is about."""
    if ORDERS not in config.stash:
        return
    order = {target.name: number for number, target in enumerate(config.stash[ORDERS].targets)}
    for item in items:
        item.user_properties.append(("host", _host_of(item)))
        item.user_properties.append(("role", role_of(item.path)))
    items.sort(key=lambda item: order.get(_host_of(item), -1))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the keys ready, and find out which hosts answer, before the first test.

    Raises:
        pytest.UsageError: the facility does not stand, or has no operating systems.
    """
    from pachon.errors import PachonError

    config = session.config
    names = {_host_of(item) for item in session.items} - {""}
    if not names or config.option.collectonly:
        return
    orders = orders_of(config)
    if not config.getoption("--orders"):
        from pachon import places
        from pachon.definition import find, load
        from pachon.verify import prepare

        try:
            prepare(load(find(_wanted(config))), places.state(orders.facility))
        except PachonError as error:
            raise pytest.UsageError(str(error)) from error
    from pachon.drivers.testinfra.connections import Connections

    config.stash[REPORTED] = set()
    config.stash[HOSTS] = {}
    config.stash[CONNECTIONS] = connections = Connections(orders)
    connections.knock([target for target in orders.targets if target.name in names])


def _host_of(item: pytest.Item) -> str:
    from pachon.drivers.testinfra.orders import Target

    call = getattr(item, "callspec", None)
    found = call.params.get("target") if call is not None else None
    return found.name if isinstance(found, Target) else ""


class Teller:
    """Writes what came of each test to stdout, a line of JSON each."""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a test file that cannot be read."""
        from pachon.drivers.testinfra.orders import Outcome

        if report.failed:
            path = Path(report.nodeid)
            message = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
            self._tell(
                Outcome(
                    host="",
                    role=role_of(path),
                    test=path.name,
                    verdict="failed",
                    seconds=0,
                    message=f"{path.name} cannot be read: {message}",
                    cure="mend the test file",
                )
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of a test once: when it was called, or when it could not be."""
        from pachon.drivers.testinfra.orders import Outcome

        if report.when != "call" and report.outcome == "passed":
            return
        noted = dict(report.user_properties)
        unreachable = report.failed and "unreachable" in noted
        self._tell(
            Outcome(
                host=str(noted.get("host", "")),
                role=str(noted.get("role", "")),
                test=report.nodeid.rpartition("::")[2].partition("[")[0],
                verdict="unreachable" if unreachable else report.outcome,
                seconds=round(report.duration, 3),
                message=_message(report),
                cure=str(noted.get("unreachable", "")) if unreachable else "",
            )
        )

    def _tell(self, outcome: "Outcome") -> None:
        stream = sys.__stdout__
        if stream is not None:
            stream.write(outcome.model_dump_json() + "\n")
            stream.flush()


def _message(report: pytest.TestReport) -> str:
    """Why it failed or was left out, without a trace: the assertion and what it compared."""
    if report.passed:
        return ""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):
        return str(longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(longrepr, "reprcrash", None)
    said = str(crash.message if crash is not None else longrepr)
    first = said.removeprefix("AssertionError: ").removeprefix("Failed: ")
    return first.partition("\nassert ")[0] if not first.startswith("assert ") else first
