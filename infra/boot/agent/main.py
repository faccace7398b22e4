"""One deploy from the kernel's command line to the restart."""

import contextlib
import ctypes
import subprocess
import sys
import time
from pathlib import Path

from .console import TroubleError, say
from .disk import finish, grow, mounted, partition, spoil
from .host import configure, install_kernel
from .image import write_image
from .machine import disks, find_disk, identity, inventory, nics, read
from .server import Server, bring_up_network

WORK = Path("/run/pachon")


class Clock:
    """Seconds that each phase took."""

    def __init__(self) -> None:
        self.phase, self._since = "start", time.monotonic()
        self.seconds: dict[str, float] = {}

    def enter(self, phase: str, server: Server | None = None) -> None:
        """The next phase begins."""
        now = time.monotonic()
        self.seconds[self.phase] = round(now - self._since, 2)
        self.phase, self._since = phase, now
        say(phase)
        if server is not None:
            server.moved(phase)


def deploy(server: Server, clock: Clock) -> None:
    """Carry the orders out; says ``done`` at the end."""
    found = disks()
    clock.enter("hello")
    orders = server.post(
        "hello",
        serial=identity("product_serial"),
        uuid=identity("product_uuid"),
        macs=[nic["mac"] for nic in nics()],
        clock_unix=time.time(),
        inventory=inventory(found),
    )
    disk = find_disk(orders["disk_serial"], found)
    nodes: tuple[str, ...] = ()
    try:
        clock.enter("partition", server)
        nodes = partition(disk, orders["image"]["raw_size_bytes"])
        clock.enter("image", server)
        write_image(orders["image"], nodes[1], server)
        clock.enter("grow", server)
        grow(nodes[1])
        clock.enter("configure", server)
        with mounted(nodes[1], "ext4", WORK / "root") as root:
            configure(root, orders, server)
            if Path("/sys/firmware/efi").exists():
                clock.enter("kernel", server)
                install_kernel(orders, root, nodes[0], server, esp_at=WORK / "esp")
            clock.enter("finish", server)
        finish(disk, nodes)
    except (TroubleError, OSError):
        spoil(disk, nodes)
        raise
    clock.enter("done")
    server.post("done", phases=clock.seconds)


def words(text: str) -> dict[str, str]:
    """The ``pachon.…`` words of a kernel command line."""
    return dict(word[7:].split("=", 1) for word in text.split() if word.startswith("pachon.") and "=" in word)


def end(*, restart: bool) -> None:
    """Restart or power off, whatever is PID 1 here."""
    sys.stdout.flush()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(0x01234567 if restart else 0x4321FEDC)
    subprocess.run(["busybox", "reboot" if restart else "poweroff", "-f"], check=False)


def main() -> int:
    """Deploy this machine, then restart it; on failure say why everywhere and power off."""
    told = words(read("/proc/cmdline"))
    clock = Clock()
    server: Server | None = None
    try:
        if not {"server", "token", "pin"} <= told.keys():
            raise TroubleError("no orders: the kernel command line names no boot service", "network")
        WORK.mkdir(parents=True, exist_ok=True)
        clock.enter("network")
        bring_up_network(told["server"])
        server = Server(told["server"], told["token"], told["pin"])
        deploy(server, clock)
    except (TroubleError, OSError, KeyError, ValueError) as error:
        kind = error.kind if isinstance(error, TroubleError) else "disk" if isinstance(error, OSError) else ""
        say(f"FAILED in phase {clock.phase}: {error}")
        if server is not None:
            server.patience = 10
            with contextlib.suppress(TroubleError):
                server.post("failed", phase=clock.phase, message=str(error), kind=kind)
        time.sleep(2)
        end(restart=False)
        return 1
    say("restarting from disk")
    end(restart=True)
    return 0
