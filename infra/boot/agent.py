"""Makes the machine it runs on into the host that the boot service orders; runs in the deploy image, nowhere else.

Standard library only. It proves serial and token, prepares exactly the disk it is told, writes the image by digest,
makes the host keys here, and restarts. It never sets the clock. A half-written disk cannot boot: its root partition
gets the type that boot loaders look for as the very last thing.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, TypeVar

Facts = dict[str, Any]
T = TypeVar("T")

ESP_MIB = 256
SPARE_MIB = 64
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00C93EC93B4B"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
UNFINISHED_TYPE = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
CHUNK = 1 << 20
ZERO = bytes(CHUNK)
F_SETPIPE_SZ = 1031
VIRTIO_BYTES = 20
PATIENCE_SECONDS = 120.0
IMAGE_TRIES = 4
WORK = Path("/run/pachon")
NODES = Path("/dev/pachon")
"""Device nodes made here; /run may be mounted without devices."""
NO_DISKS = re.compile(r"^(loop|ram|zram|sr|fd|dm-|md|nbd)")


class TroubleError(Exception):
    """The deploy is over; ``kind`` (network, disk, image) tells the boot service which cure to name."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class PassingError(Exception):
    """May be better in a moment."""


def say(text: str) -> None:
    """Put a line on the console."""
    sys.stdout.write(f"pachon-agent: {text}\n")
    sys.stdout.flush()


def run(*argv: str | Path, stdin: str = "", allowed: Container[int] = (0,)) -> str:
    """What the program printed on either stream."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], input=stdin, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise TroubleError(f"the deploy image has no program {argv[0]}", "image") from None
    if done.returncode not in allowed:
        raise TroubleError(f"{argv[0]} ended with status {done.returncode}: {done.stdout.strip()[-400:]}", "disk")
    return done.stdout


# --- what the machine is ---------------------------------------------------------------------------------------------


def read(path: str | Path) -> str:
    """Content of a small file without blanks around it, or nothing."""
    try:
        return Path(path).read_bytes().decode(errors="replace").strip("\0 \n\t")
    except OSError:
        return ""


def identity(name: str) -> str:
    """Serial or UUID from the firmware's tables (or from where a container is given them)."""
    return read(f"/run/host/dmi/{name}") or read(f"/sys/class/dmi/id/{name}")


def nics() -> list[Facts]:
    """Every Ethernet port: name and MAC."""
    found = []
    for path in sorted(Path("/sys/class/net").iterdir()):
        if path.name != "lo" and read(path / "type") == "1":
            found.append({"name": path.name, "mac": read(path / "address").lower()})
    return found


def serial_of(block: Path) -> str:
    """Serial of a disk from its folder in /sys/block."""
    for name in ("serial", "device/serial", "device/wwid", "wwid"):
        if text := read(block / name):
            return text
    with contextlib.suppress(OSError):
        return (block / "device/vpd_pg80").read_bytes()[4:].decode(errors="replace").strip("\0 ")
    return ""


def size_of(node: str) -> int:
    """Size of a block device in bytes, or 0 if it cannot be opened."""
    try:
        descriptor = os.open(node, os.O_RDONLY)
    except OSError:
        return 0
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def disks() -> list[Facts]:
    """Every disk: name, serial, size, device node."""
    found = {}
    by_id = Path("/dev/disk/by-id")
    for path in sorted(by_id.iterdir()) if by_id.is_dir() else ():
        if "-part" not in path.name and path.is_block_device():
            found[path.name] = {"name": path.resolve().name, "serial": path.name, "node": str(path)}
    for block in sorted(Path("/sys/block").iterdir()):
        node = Path("/dev") / block.name
        serial = serial_of(block)
        if not NO_DISKS.match(block.name) and node.exists() and serial not in found:
            found[serial or block.name] = {"name": block.name, "serial": serial, "node": str(node)}
    return [{**disk, "size_bytes": size_of(disk["node"])} for disk in found.values()]


def find_disk(serial: str, found: list[Facts]) -> str:
    """Device node of the disk with this serial (virtio shows its first twenty bytes only)."""
    for disk in found:
        seen = str(disk["serial"])
        if seen == serial or seen.endswith(f"_{serial}") or (len(seen) == VIRTIO_BYTES and serial.startswith(seen)):
            return str(disk["node"])
    names = ", ".join(f"{disk['name']} ({disk['serial'] or 'no serial'})" for disk in found) or "none"
    raise TroubleError(f"there is no disk with serial {serial}; found: {names}", "disk")


def inventory(found: list[Facts]) -> Facts:
    """What this machine consists of."""
    memory = re.search(r"MemTotal:\s+(\d+)", read("/proc/meminfo"))
    return {
        "cpus": os.cpu_count() or 0,
        "memory_mib": int(memory.group(1)) // 1024 if memory else 0,
        "disks": [{key: disk[key] for key in ("name", "serial", "size_bytes")} for disk in found],
        "nics": nics(),
    }


# --- the way to the boot service -------------------------------------------------------------------------------------


def bring_up_network(server: str) -> None:
    """Get an address by DHCP unless there is a way to the server already."""
    host = urllib.parse.urlsplit(server).hostname or ""
    if has_way_to(host):
        return
    names = [nic["name"] for nic in nics()]
    for name in names:
        run("ip", "link", "set", name, "up")
    for _ in range(5):
        if shutil.which("dhclient"):
            run("dhclient", "-1", "-4", *names, allowed=range(256))
        else:
            for name in names:
                run("busybox", "udhcpc", "-n", "-q", "-t", "3", "-T", "2", "-i", name, allowed=range(256))
                if has_way_to(host):
                    return
        if has_way_to(host):
            return
        time.sleep(1)
    raise TroubleError("no address by DHCP on any NIC", "network")


def has_way_to(host: str) -> bool:
    """Whether there is a route to this address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return False
        return True


class Server:
    """The boot service, known by the pin of its certificate; every word carries this run's session."""

    def __init__(self, url: str, token: str, pin: str) -> None:
        self._where = urllib.parse.urlsplit(url)
        self._token, self._pin = token, pin
        self._connection: http.client.HTTPSConnection | None = None
        self._moved_at = 0.0
        self.session = secrets.token_hex(16)
        self.patience = PATIENCE_SECONDS

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the pin below is stricter, and needs no clock
        host, port = self._where.hostname or "", self._where.port
        connection = http.client.HTTPSConnection(host, port, timeout=15, context=context)
        connection.connect()
        if hashlib.sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest() != self._pin:
            connection.close()
            raise TroubleError("the boot service has another certificate than the one pinned", "network")
        return connection

    def _post(self, name: str, body: Facts) -> Facts:
        data = json.dumps({**body, "session": self.session})
        try:
            self._connection = self._connection or self._connect()
            self._connection.request("POST", f"/v1/{self._token}/{name}", data, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise PassingError(f"{type(error).__name__}: {error}") from error
        if response.status >= 500:
            raise PassingError(f"the boot service answered {response.status}")
        if response.status == 404:
            raise TroubleError("the boot service does not know this token (any more)", "network")
        answer: Facts = json.loads(text)
        if response.status != 200:
            raise TroubleError(f"refused: {answer.get('error')}; {answer.get('cure')}", "network")
        return answer

    def post(self, name: str, **body: Any) -> Facts:
        """The answer; tried again for a while when the network or the service is away."""
        return patiently(lambda: self._post(name, body), name, self.patience)

    def moved(self, phase: str, fraction: float | None = None, message: str = "") -> None:
        """Tell how far it is, at most twice a second, and never wait for it."""
        now = time.monotonic()
        if now - self._moved_at >= 0.5:
            self._moved_at = now
            with contextlib.suppress(PassingError):
                self._post("progress", {"phase": phase, "fraction": fraction, "message": message})


def patiently(work: Callable[[], T], name: str, patience: float) -> T:
    """The answer of ``work``, tried again with growing pauses while it fails in a passing way."""
    end = time.monotonic() + patience
    pause = 0.2
    while True:
        try:
            return work()
        except PassingError as error:
            if time.monotonic() + pause > end:
                raise TroubleError(f"{name}: {error} (tried for {patience:.0f} s)", "network") from error
            say(f"{name}: {error}; trying again")
        time.sleep(pause)
        pause = min(pause * 2, 5.0)


@contextlib.contextmanager
def download(url: str, patience: float) -> Iterator[http.client.HTTPResponse]:
    """The open response; a full server is asked again."""
    where = urllib.parse.urlsplit(url)

    def once() -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        try:
            connection.request("GET", where.path)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise PassingError(f"{type(error).__name__}: {error}") from error
        if response.status == 200:
            return connection, response
        connection.close()
        if response.status == 503:
            raise PassingError("the boot server is sending to others")
        raise TroubleError(f"the boot service answered {response.status} for {where.path}", "image")

    connection, response = patiently(once, "download", patience)
    try:
        yield response
    finally:
        connection.close()


# --- the disk --------------------------------------------------------------------------------------------------------


def partition(disk: str, needed_bytes: int) -> tuple[str, ...]:
    """Device nodes of EFI and root partition on this disk, whose old content is gone."""
    size = size_of(disk)
    wanted = needed_bytes + (ESP_MIB + SPARE_MIB << 20)
    if size < wanted:
        raise TroubleError(f"disk {disk} is too small: {size >> 20} MiB, needed are {wanted >> 20} MiB", "disk")
    run("partx", "-d", disk, allowed=range(256))
    try:
        os.close(os.open(disk, os.O_RDWR | os.O_EXCL))
    except OSError as error:
        raise TroubleError(f"disk {disk} is in use or cannot be written: {error.strerror}", "disk") from error
    run("wipefs", "-a", "-q", disk)
    layout = (
        f"label: gpt\nsize={ESP_MIB}MiB, type={ESP_TYPE}, name=pachon-esp\ntype={UNFINISHED_TYPE}, name=pachon-root\n"
    )
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--wipe", "always", disk, stdin=layout)
    run("partx", "-d", disk, allowed=range(256))
    run("partx", "-a", disk, allowed=range(256))
    nodes = tuple(node_of(disk, number) for number in (1, 2))
    for node in nodes:
        run("wipefs", "-a", "-q", node)
    return nodes


def node_of(disk: str, number: int) -> str:
    """A device node for this partition, made here from what the kernel says (there may be no udev)."""
    base = sysfs_of(disk)
    for _ in range(100):
        for entry in base.glob("*/partition"):
            if read(entry) == str(number):
                major, minor = read(entry.parent / "dev").split(":")
                node = NODES / f"{Path(disk).name}-part{number}"
                NODES.mkdir(exist_ok=True)
                node.unlink(missing_ok=True)
                os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(int(major), int(minor)))
                return str(node)
        time.sleep(0.05)
    raise TroubleError(f"the kernel does not see partition {number} of {disk}", "disk")


def sysfs_of(node: str) -> Path:
    """The kernel's folder of this block device."""
    device = Path(node).stat().st_rdev
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()


def empty(node: str, length: int) -> None:
    """Make the first ``length`` bytes of the device read as zeros, so that zeros need not be written."""
    run("blkdiscard", "-f", node, allowed=range(256))
    if "/loop" not in str(sysfs_of(node)):  # a loop device is known to read zeros after a discard
        run("blkdiscard", "-f", "-z", "-l", str(length + -length % 4096), node)


def write_image(image: Facts, node: str, server: Server) -> None:
    """The image on this device, checked by digest."""
    for attempt in range(1, IMAGE_TRIES + 1):
        try:
            empty(node, image["raw_size_bytes"])
            with download(image["url"], server.patience * 5) as response:
                pour(response, image, node, server)
            return
        except PassingError as error:
            if attempt == IMAGE_TRIES:
                raise TroubleError(f"the image broke off {attempt} times, last: {error}", "network") from error
            say(f"image: {error}; starting it again")
            time.sleep(attempt)


class Unpacking:
    """A response being unpacked: iterate for the content, then ask what came of it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.total, self.got, self.broken = int(response.headers["Content-Length"]), 0, ""
        self._digest = hashlib.sha256()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(["zstd", "-dcq"], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._feeder = threading.Thread(target=self._feed, daemon=True)

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            while chunk := self._response.read(CHUNK // 4):
                self._digest.update(chunk)
                self.got += len(chunk)
                with contextlib.suppress(BrokenPipeError):  # it gave up; the digest is wanted all the same
                    self._process.stdin.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            self.broken = f"{type(error).__name__}: {error}"
        if self.got != self.total:
            self.broken = self.broken or f"{self.got} of {self.total} bytes came"
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def __iter__(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._process.stdout, F_SETPIPE_SZ, CHUNK)
        self._feeder.start()
        try:
            while chunk := self._process.stdout.read(CHUNK):
                yield chunk
            self._feeder.join()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self.status = self._process.wait()

    @property
    def digest(self) -> str:
        """Of what came."""
        return f"sha256:{self._digest.hexdigest()}"


def pour(response: http.client.HTTPResponse, image: Facts, node: str, server: Server) -> None:
    """Stream, unpack and write; wrong content raises TroubleError, a broken stream PassingError."""
    unpacking, size = Unpacking(response), 0
    with open(node, "r+b", buffering=0) as target:  # noqa: PTH123  a device node
        for chunk in unpacking:
            if chunk != ZERO[: len(chunk)]:
                target.seek(size)
                view = memoryview(chunk)
                while view:
                    view = view[target.write(view) :]
            size += len(chunk)
            server.moved("image", round(unpacking.got / unpacking.total, 3))
        os.fsync(target.fileno())
    if unpacking.broken:
        raise PassingError(unpacking.broken)
    if unpacking.digest != image["digest"]:
        raise TroubleError(f"the image has digest {unpacking.digest}, ordered was {image['digest']}", "image")
    if unpacking.status != 0 or size != image["raw_size_bytes"]:
        raise TroubleError(f"the image does not unpack: {size} bytes, status {unpacking.status}", "image")


def grow(node: str) -> None:
    """Give the file system the whole partition and an identity of its own."""
    run("e2fsck", "-f", "-p", node, allowed=(0, 1))
    run("tune2fs", "-U", "random", node)
    run("resize2fs", node)


def finish(disk: str, nodes: tuple[str, ...]) -> None:
    """Make the root partition one that boot loaders look for, and everything safe on the disk."""
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", "--part-type", disk, "2", ROOT_TYPE)
    for node in (*nodes, disk):
        descriptor = os.open(node, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def spoil(disk: str, nodes: tuple[str, ...]) -> None:
    """Make the disk unbootable after a failure."""
    for node in (*nodes, disk):
        run("wipefs", "-a", "-q", "-f", node, allowed=range(256))


@contextlib.contextmanager
def mounted(node: str, kind: str, place: Path) -> Iterator[Path]:
    """The file system, mounted at this place."""
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", kind, node, place)
    try:
        yield place
    finally:
        run("umount", place)


# --- the host --------------------------------------------------------------------------------------------------------


def put(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the new host."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def network_files(address_on: dict[str, Facts]) -> dict[str, str]:
    """Name and content of systemd-networkd's files: NICs are told by MAC."""
    files = {}
    for mac, nic in sorted(address_on.items()):
        base = f"/etc/systemd/network/10-pachon-{nic['name']}"
        match = f"[Match]\nMACAddress={mac}\nType=ether\n"
        files[f"{base}.link"] = f"{match}\n[Link]\nName={nic['name']}\n"
        if nic["address"] is None:
            continue
        text = f"{match}\n[Network]\nAddress={nic['address']}/{nic['prefix']}\nLinkLocalAddressing=no\n"
        if nic.get("also"):
            text += f"Address={nic['also']}/{nic['prefix']}\n"
        if nic.get("gateway"):
            text += f"Gateway={nic['gateway']}\n"
        if nic.get("reply_gateway"):
            text += f"\n[Route]\nGateway={nic['reply_gateway']}\nTable=1000\n"
            text += f"\n[RoutingPolicyRule]\nFrom={nic['address']}\nTable=1000\n"
        files[f"{base}.network"] = text
    return files


def configure(root: Path, orders: Facts, server: Server) -> None:
    """Give the new host its name, addresses, stamp, trust and signed keys."""
    put(root, "/etc/hostname", orders["host"] + "\n")
    put(root, "/etc/hosts", "".join(line + "\n" for line in orders["hosts"]))
    put(root, "/etc/machine-id", secrets.token_hex(16) + "\n", 0o444)
    for path, text in network_files(orders["address_on"]).items():
        put(root, path, text)
    put(root, "/etc/pachon/stamp.json", orders["stamp"])
    put(root, "/etc/pachon/stamp.json.sig", orders["stamp_signature"])
    put(root, "/etc/ssh/pachon/user_ca.pub", orders["user_ca_public"])
    for user, names in orders["principals"].items():
        put(root, f"/etc/ssh/pachon/principals/{user}", "".join(name + "\n" for name in names))
    key = root / "etc/ssh/ssh_host_ed25519_key"
    for old in key.parent.glob("ssh_host_*"):
        old.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", orders["host"], "-f", key)
    public = key.with_suffix(".pub").read_text().strip()
    answer = server.post("host-keys", public_keys=[public])
    put(root, "/etc/ssh/ssh_host_ed25519_key-cert.pub", answer["certificates"][0] + "\n")


def install_kernel(orders: Facts, root: Path, esp_node: str, server: Server) -> None:
    """Kernel modules into the root, boot loader and kernel into the EFI partition (machines with firmware only)."""
    kernel = orders["kernel"]
    packed = root / ".pachon-kernel.tar.zst"
    digest = hashlib.sha256()
    with download(kernel["url"], server.patience * 5) as response, packed.open("wb") as file:
        total, got = int(response.headers["Content-Length"]), 0
        while chunk := response.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            got += len(chunk)
            server.moved("kernel", round(got / total, 3))
    if f"sha256:{digest.hexdigest()}" != kernel["digest"]:
        raise TroubleError(f"the kernel has digest sha256:{digest.hexdigest()}, not {kernel['digest']}", "image")
    unpacked = root / ".pachon-kernel"
    unpacked.mkdir()
    run("tar", "-x", "-I", "zstd", "-f", packed, "-C", unpacked)
    packed.unlink()
    modules = unpacked / "modules/lib/modules"
    place = root / "lib/modules"
    place.mkdir(parents=True, exist_ok=True)
    for version in modules.iterdir() if modules.is_dir() else ():
        shutil.rmtree(place / version.name, ignore_errors=True)
        version.rename(place / version.name)
    run("mkfs.vfat", "-n", "PACHON-ESP", esp_node)
    with mounted(esp_node, "vfat", WORK / "esp") as esp:
        run("cp", "-r", f"{unpacked}/esp/.", esp)
    shutil.rmtree(unpacked)


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
                install_kernel(orders, root, nodes[0], server)
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


if __name__ == "__main__":
    sys.exit(main())
