"""pytest plug-in: gives tests of roles the fixture ``host`` (testinfra's), once for each host that carries the role.

A test file belongs to the role whose folder it lies in (``roles/<role>/tests/test_*.py``); a file outside of any role
is run on every host. ``target`` tells a test who the host should be. Verdicts go to stdout as lines of JSON when the
orders came from a file, which is how ``pachon verify`` runs it.
"""

import sys
from pathlib import Path

import pytest
from testinfra.host import Host  # type: ignore[import-untyped]  # it has no stubs

from pachon.drivers.testinfra.connections import Connections, FleetBackend
from pachon.drivers.testinfra.orders import ROLE_OF_ALL, Orders, Outcome, Target
from pachon.errors import PachonError

ORDERS = pytest.StashKey[Orders]()
CONNECTIONS = pytest.StashKey[Connections]()
REPORTED = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add ``--facility`` (for people) and ``--orders`` (for ``pachon verify``).

    Testinfra's own plug-in brings a fixture of the same name, so it is kept out; this hook is the last moment for it.
    """
    pluginmanager.set_blocked("pytest11.testinfra")
    group = parser.getgroup("pachon")
    group.addoption("--facility", default="", help="facility whose hosts are tested (name or path)")
    group.addoption("--orders", default="", help="file with the orders of 'pachon verify'")


def pytest_configure(config: pytest.Config) -> None:
    """Read the orders."""
    path = config.getoption("--orders")
    if path:
        orders = Orders.model_validate_json(Path(path).read_bytes())
        config.pluginmanager.register(Teller(), "pachon-teller")
    else:
        from pachon.verify import orders_of

        try:
            orders = orders_of(config.getoption("--facility") or "lab")
        except PachonError as error:
            raise pytest.UsageError(str(error)) from error
    config.stash[ORDERS] = orders
    config.stash[CONNECTIONS] = Connections(orders)
    config.stash[REPORTED] = set()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the connections."""
    connections = config.stash.get(CONNECTIONS, None)
    if connections is not None:
        connections.close()


def role_of(path: Path) -> str:
    """The role whose tests these are; empty: tests of every host."""
    parts = path.parts
    if len(parts) >= 4 and parts[-2] == "tests" and parts[-4] == "roles":
        return parts[-3]
    return ""


def carriers(orders: Orders, role: str) -> list[Target]:
    """The hosts that the tests of a role are run on."""
    return [target for target in orders.targets if role in {"", ROLE_OF_ALL} or role in target.groups]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of roles that no host carries."""
    role = role_of(collection_path)
    return True if role and not carriers(config.stash[ORDERS], role) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One call for each host that carries the role; grouped by host, so that few connections are open."""
    if "target" in metafunc.fixturenames:
        targets = carriers(metafunc.config.stash[ORDERS], role_of(metafunc.definition.path))
        metafunc.parametrize("target", targets, ids=[target.name for target in targets], scope="session", indirect=True)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The host as the definition has it."""
    found = request.param
    assert isinstance(found, Target)
    return found


@pytest.fixture
def host(target: Target, request: pytest.FixtureRequest) -> Host:
    """Host of testinfra over a pooled connection; a host that cannot be reached fails one test and skips the rest."""
    config = request.config
    connections, reported = config.stash[CONNECTIONS], config.stash[REPORTED]
    try:
        connections.transport(target)
    except PachonError as error:
        if target.name in reported:
            pytest.skip(f"{target.name} cannot be reached, as reported above")
        reported.add(target.name)
        request.node.user_properties.append(("unreachable", error.cure))
        pytest.fail(error.message, pytrace=False)
    seconds = config.stash[ORDERS].command_seconds
    return Host(FleetBackend(target, connections, command_seconds=seconds))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order by host, so that few connections are open, and note on each test what it is about."""
    order = {target.name: number for number, target in enumerate(config.stash[ORDERS].targets)}
    for item in items:
        item.user_properties.append(("host", _host_of(item)))
        item.user_properties.append(("role", role_of(item.path)))
    items.sort(key=lambda item: order.get(_host_of(item), -1))


def _host_of(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)
    found = call.params.get("target") if call is not None else None
    return found.name if isinstance(found, Target) else ""


class Teller:
    """Writes what came of each test to stdout, a line of JSON each."""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell of a test file that cannot be read."""
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

    def _tell(self, outcome: Outcome) -> None:
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
