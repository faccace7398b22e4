"""The keeper of one machine that is switched on: ``python -m infra.lab.machine FOLDER``.

It lives as long as the machine is on, in a session and cgroup of its own, and outlives whoever switched it on. It
holds a lock on the machine's folder (the lock is what "On" means) and is told what to do by signals:
SIGTERM ask the system to shut down, SIGHUP the same and then on again, SIGUSR1 pull the plug, SIGUSR2 pull and replug.
"""

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from infra.lab import alive, boot_source, cgroups, console, container, firmware, kernel, plug, spec
from pachon.errors import PachonError

LOCK_FILE = "power.lock"
STATUS_FILE = "power.json"
REBOOT_STATUS = 133
"""systemd-nspawn's exit status when the guest asks for a reboot."""

_CONSOLE_CHECK_SECONDS = 10.0
_SETTLE_SECONDS = {"container": 20.0, "firmware": 120.0}
"""After that a machine that was started from its own disk has booted, and what is emulated was also configured."""
_SYSTEMD_POWEROFF = signal.SIGRTMIN + 4
_SYSTEMD_REBOOT = signal.SIGRTMIN + 5
_COMMANDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Outcome(Enum):
    """How a boot ended."""

    OFF = "off"
    REBOOT = "reboot"
    HALTED = "halted"
    """Nothing runs any more, but the power is on: no bootable device, or a panic."""


@dataclass(frozen=True)
class Status:
    """What a keeper tells of its machine; in ``power.json`` of the machine's folder."""

    pid: int
    boots: int
    """Since power-on."""
    source: str
    halted: bool


def read_status(folder: Path) -> Status | None:
    """What the last keeper told; None if the machine was never on."""
    try:
        return Status(**json.loads((folder / STATUS_FILE).read_bytes()))
    except (FileNotFoundError, ValueError):
        return None


def write_status(folder: Path, status: Status) -> None:
    """Tell it, whole or not at all."""
    partial = folder / ".power.json"
    partial.write_text(json.dumps(dataclasses.asdict(status)))
    partial.replace(folder / STATUS_FILE)


class Keeper:
    """Boots a machine again and again until it is switched off."""

    def __init__(self, folder: Path, machine: spec.MachineSpec) -> None:
        self._folder = folder
        self._spec = machine
        self._group = cgroups.power(machine.facility, machine.serial)
        self._monitor: socket.socket | None = None
        self._boots = 0
        self._settles_at: float | None = None
        self._shutdown_reason = ""
        self._asked_for_reboot = False
        self._bell, bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        for number in _COMMANDS:
            signal.signal(number, lambda _number, _frame: None)

    def run(self, ready: Callable[[], None]) -> None:
        """Keep the machine on until it goes off; ``ready`` is called when it first runs."""
        while True:
            self._group.kill()
            outcome = self._boot_once(ready)
            if outcome is Outcome.HALTED:
                outcome = self._wait_halted()
            self._group.kill()
            if outcome is Outcome.OFF:
                break
            console.say(self._folder, "reset")
        plug.unplug(self._spec)
        console.say(self._folder, "power off")

    def _boot_once(self, ready: Callable[[], None]) -> Outcome:
        console.turn_over(self._folder)
        choice = boot_source.consume(self._folder)
        self._boots += 1
        seconds = _SETTLE_SECONDS[self._spec.kind]
        self._settles_at = time.monotonic() + seconds if choice.source == "Hdd" else None
        cgroups.machine(self._spec.facility, self._spec.serial).settle(settled=False)
        self._shutdown_reason, self._asked_for_reboot = "", False
        console.say(self._folder, f"power on, boot {self._boots}, source {choice.source}")
        if self._spec.kind == "container":
            plug.plug(self._folder, self._spec)
        else:
            plug.plug_empty(self._spec)
        write_status(self._folder, Status(os.getpid(), self._boots, choice.source, halted=False))
        ready()
        return self._watch(self._start(choice))

    def _start(self, choice: boot_source.Choice) -> int:
        """The process that is the machine: it begins as firmware and becomes nspawn or QEMU."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            try:
                self._be_machine(choice, theirs)
            except BaseException as error:
                console.say(self._folder, f"firmware failed: {type(error).__name__}: {error}")
            os._exit(container.NOTHING_TO_BOOT)
        theirs.close()
        self._close_monitor()
        if self._spec.kind == "firmware":
            self._monitor = ours
            ours.sendall(b'{"execute": "qmp_capabilities"}\n')
            ours.setblocking(False)
        else:
            ours.close()
        return child

    def _be_machine(self, choice: boot_source.Choice, monitor: socket.socket) -> None:
        kernel.die_with_parent(True)
        signal.set_wakeup_fd(-1)
        for number in _COMMANDS:
            signal.signal(number, signal.SIG_DFL)
        self._group.join()
        output = console.open_to_write(self._folder)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)

        def say(text: str) -> None:
            console.say(self._folder, text)

        if self._spec.kind == "container":
            kernel.private_mounts()
            os._exit(container.boot(self._spec, self._folder, choice=choice, say=say))
        monitor.set_inheritable(True)
        firmware.boot(self._spec, self._folder, choice=choice, say=say, monitor=monitor.fileno())

    def _watch(self, child: int) -> Outcome:
        """Wait for the machine's end, doing what signals ask for meanwhile."""
        handle = os.pidfd_open(child)
        try:
            commanded: Outcome | None = None
            while True:
                for number in self._wait(handle):
                    commanded = self._obey(number, child) or commanded
                self._read_monitor()
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    self._read_monitor()
                    return commanded or self._judge(os.waitstatus_to_exitcode(status))
        finally:
            os.close(handle)

    def _wait(self, *handles: int) -> list[int]:
        """Signals that came; returns when there is one, when a handle is ready, or after a while."""
        watched = [self._bell, *handles, *([self._monitor.fileno()] if self._monitor else [])]
        ready, _, _ = select.select(watched, [], [], _CONSOLE_CHECK_SECONDS)
        if not ready:
            console.turn_over(self._folder)
            self._stand_back()
        if self._bell not in ready:
            return []
        with contextlib.suppress(BlockingIOError):
            return [number for number in os.read(self._bell, 64) if number in _COMMANDS]
        return []

    def _stand_back(self) -> None:
        """Leave the processors to machines that boot, once this one has."""
        if self._settles_at is not None and time.monotonic() > self._settles_at:
            self._settles_at = None
            cgroups.machine(self._spec.facility, self._spec.serial).settle(settled=True)

    def _obey(self, number: int, child: int) -> Outcome | None:
        """Carry out one command; the outcome that it forces, if it does."""
        match number:
            case signal.SIGUSR1 | signal.SIGUSR2:
                self._pull_plug(child)
                return Outcome.OFF if number == signal.SIGUSR1 else Outcome.REBOOT
            case _:
                self._asked_for_reboot = number == signal.SIGHUP
                return self._press_power_button(child)

    def _pull_plug(self, child: int) -> None:
        """End everything of this boot; the child also where it is so young that it is not in the group yet."""
        self._group.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    def _press_power_button(self, child: int) -> Outcome | None:
        if self._monitor is not None:
            with contextlib.suppress(OSError):
                self._monitor.sendall(b'{"execute": "system_powerdown"}\n')
            return None
        leader = _container_leader(child)
        if leader is None:
            self._pull_plug(child)
            return Outcome.REBOOT if self._asked_for_reboot else Outcome.OFF
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, _SYSTEMD_REBOOT if self._asked_for_reboot else _SYSTEMD_POWEROFF)
        return None

    def _judge(self, status: int) -> Outcome:
        """What the end of the machine's process means."""
        if self._spec.kind == "firmware" and status == 0:
            restart = self._shutdown_reason == "guest-reset" or self._asked_for_reboot
            return Outcome.REBOOT if restart else Outcome.OFF
        if status == REBOOT_STATUS:
            return Outcome.REBOOT
        if status == 0:
            return Outcome.REBOOT if self._asked_for_reboot else Outcome.OFF
        if status != container.NOTHING_TO_BOOT:
            console.say(self._folder, f"the system ended with status {status}; halted")
        return Outcome.HALTED

    def _wait_halted(self) -> Outcome:
        """On, but nothing runs: wait for somebody to reset it or switch it off."""
        status = read_status(self._folder)
        if status is not None:
            write_status(self._folder, dataclasses.replace(status, halted=True))
        self._close_monitor()
        while True:
            for number in self._wait():
                return Outcome.REBOOT if number in (signal.SIGUSR2, signal.SIGHUP) else Outcome.OFF

    def _read_monitor(self) -> None:
        """Take QEMU's events in; the one that matters says why it ends."""
        if self._monitor is None:
            return
        with contextlib.suppress(BlockingIOError):
            while text := self._monitor.recv(65536):
                for line in text.splitlines():
                    with contextlib.suppress(ValueError):
                        event = json.loads(line)
                        if event.get("event") == "SHUTDOWN":
                            self._shutdown_reason = event["data"]["reason"]
            self._close_monitor()

    def _close_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None


def _container_leader(nspawn: int) -> int | None:
    """The process that is PID 1 of the container under that nspawn; None if none runs yet."""
    try:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        for child in children:
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[2:] == ["1"]:
                    return int(child)
    except OSError:
        return None
    return None


def main(folder: Path, report: int) -> int:
    """Keep the machine of the folder; "on" is written to the descriptor ``report`` when it runs, or what is wrong."""

    def tell(text: str) -> None:
        nonlocal report
        if report >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(report, text.encode())
            os.close(report)
            report = -1

    try:
        machine = spec.load(folder)
        cgroups.keeper(machine.facility, machine.serial).join()
        if not alive.hold(folder / LOCK_FILE):
            tell("on")
            return 0
        Keeper(folder, machine).run(lambda: tell("on"))
    except (PachonError, OSError) as error:
        console.say(folder, f"keeper: {error}")
        tell(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else -1))
