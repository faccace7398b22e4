"""apt installs what is missing, starts nothing, and the policy that says so is there only while it works."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.toolchain import debian
from infra.toolchain.debian import Package
from pachon.errors import PermanentError
from pachon.progress import Event, silent

CHECKOUT = debian.LIST.parents[2]
PACKAGE = Package(name="thing", witnesses=("pachon-test-thing",), purpose="tests")
FAKE_APT = """#!/bin/sh
echo "$*" >> {folder}/apt.log
case "$*" in
*update*) touch {folder}/lists/x_Packages ;;
*install*)
    cat {folder}/policy-rc.d > {folder}/policy-seen 2>/dev/null
    cat {folder}/etc/d/pachon.conf > {folder}/clusters-seen 2>/dev/null
    [ -e {folder}/fail ] && {{ rm {folder}/fail; echo "E: no such package" >&2; exit 100; }}
    [ -e {folder}/hang ] && exec sleep 300
    echo "installed thing" >> {folder}/dpkg.txt
    [ -e {folder}/serve ] && {{ setsid {folder}/bin/pachon-test-thing 300 >/dev/null 2>&1 </dev/null & }}
    echo "Setting up thing" ;;
esac
exit 0
"""
FAKE_DPKG = """#!/bin/sh
case "$1" in
--show) cat {folder}/dpkg.txt ;;
--listfiles) echo {folder}/bin/pachon-test-thing ;;
esac
"""


class Machine:
    """A Debian whose apt and dpkg only pretend."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy-rc.d"
        self.places = debian.Places(
            policy=self.policy,
            clusters=folder / "etc" / "d" / "pachon.conf",
            lists=folder / "lists",
            lock=folder / "lock",
        )
        (folder / "bin").mkdir()
        (folder / "lists").mkdir()
        (folder / "lists" / "x_Packages").touch()
        (folder / "dpkg.txt").write_text("installed base-files\n")
        for name, text in (("apt-get", FAKE_APT), ("dpkg-query", FAKE_DPKG)):
            path = folder / "bin" / name
            path.write_text(text.format(folder=folder))
            path.chmod(0o755)

    def switch(self, name: str) -> None:
        (self.folder / name).touch()

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def install(self) -> tuple[debian.Started, ...]:
        return debian.install([PACKAGE], progress=silent, places=self.places)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Machine(tmp_path)


def test_services_are_forbidden_while_apt_works_and_only_then(machine: Machine) -> None:
    assert machine.install() == ()
    assert "exit 101" in machine.read("policy-seen")
    assert not machine.policy.exists()


def test_a_database_server_makes_no_cluster_that_starts_with_the_machine(machine: Machine) -> None:
    machine.install()
    assert "create_main_cluster = false" in machine.read("clusters-seen")
    assert not (machine.folder / "etc").exists()


def test_the_policy_is_taken_away_when_apt_fails_too(machine: Machine) -> None:
    (machine.folder / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: broken' >&2\nexit 100\n")
    with pytest.raises(PermanentError, match="E: broken"):
        machine.install()
    assert not machine.policy.exists()


def test_a_policy_that_the_machine_has_is_left_as_it_is(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 101 # of the machine's owner\n")
    machine.install()
    assert machine.policy.read_text() == machine.read("policy-seen") == "#!/bin/sh\nexit 101 # of the machine's owner\n"


def test_a_policy_left_by_a_killed_run_is_taken_away_by_the_next(machine: Machine) -> None:
    machine.switch("hang")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from infra.toolchain import debian\n"
        f"folder = Path({str(machine.folder)!r})\n"
        "places = debian.Places(policy=folder / 'policy-rc.d', lists=folder / 'lists', lock=folder / 'lock')\n"
        "debian.install([debian.Package('thing', (), '')], progress=lambda event: None, places=places)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'src'}"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    deadline = time.monotonic() + 60
    while not (machine.folder / "policy-seen").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert machine.policy.exists()
    (machine.folder / "hang").unlink()
    machine.install()
    assert not machine.policy.exists()


def test_lists_are_brought_only_when_there_are_none(machine: Machine) -> None:
    machine.install()
    assert "update" not in machine.read("apt.log")
    (machine.folder / "lists" / "x_Packages").unlink()
    machine.install()
    commands = [line.split()[3] for line in machine.read("apt.log").splitlines()]
    assert commands == ["install", "update", "install"]


def test_apt_that_fails_by_old_lists_is_tried_once_more_with_fresh_ones(machine: Machine) -> None:
    machine.switch("fail")
    machine.install()
    commands = [line.split()[3] for line in machine.read("apt.log").splitlines()]
    assert commands == ["install", "update", "install"]


def test_nothing_but_the_packages_named_comes_and_nothing_is_asked(machine: Machine) -> None:
    machine.install()
    assert "install --yes --no-install-recommends thing" in machine.read("apt.log")


def test_a_service_that_was_started_all_the_same_is_named(machine: Machine) -> None:
    thing = machine.folder / "bin" / "pachon-test-thing"
    thing.write_bytes(Path("/bin/sleep").read_bytes())
    thing.chmod(0o755)
    machine.switch("serve")
    started = machine.install()
    try:
        assert [service.program for service in started] == [str(thing)]
    finally:
        for service in started:
            os.kill(service.pid, signal.SIGTERM)


def test_missing_is_what_neither_is_there_nor_known_to_dpkg(machine: Machine) -> None:
    assert debian.missing([PACKAGE]) == (PACKAGE,)
    (machine.folder / "dpkg.txt").write_text("installed thing\n")
    assert debian.missing([PACKAGE]) == ()


def test_a_package_whose_files_went_with_its_removal_is_missing(machine: Machine) -> None:
    (machine.folder / "dpkg.txt").write_text("config-files thing\n")
    assert debian.missing([PACKAGE]) == (PACKAGE,)


def test_a_program_from_elsewhere_serves_as_well(machine: Machine) -> None:
    (machine.folder / "bin" / "pachon-test-thing").write_text("#!/bin/sh\n")
    (machine.folder / "bin" / "pachon-test-thing").chmod(0o755)
    assert debian.missing([PACKAGE]) == ()


def test_apt_is_told_of_line_by_line(machine: Machine) -> None:
    events: list[Event] = []
    debian.install([PACKAGE], progress=events.append, places=machine.places)
    assert "Setting up thing" in [event.message for event in events]


def test_the_list_is_sorted_and_says_what_each_package_is_for() -> None:
    packages = debian.wanted()
    assert [package.name for package in packages] == sorted(package.name for package in packages)
    assert all(package.witnesses and package.purpose for package in packages)
