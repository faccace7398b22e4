"""Eyes on this machine while a lab is worked with: what processes show of themselves, what leaves, what was changed."""

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import psutil

EVERY_PROTOCOL = 0x0003
IPV4, ARP = 0x0800, 0x0806
LOOK_SECONDS = 0.05
YOUNG_SECONDS = 2.0
"""A process may call another program so long after it began; later it is not looked at again."""


class Watch:
    """Arguments and environment of every process that ran, and tokens of deploys that lay in the state folder."""

    def __init__(self, state: Path) -> None:
        self.texts: set[bytes] = set()
        self.tokens: set[str] = set()
        self._state = state
        self._seen: dict[str, float] = {}
        self._young: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        living = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208  twenty times a second
        for pid in self._seen.keys() - living:
            del self._seen[pid]
        new = living - self._seen.keys()
        self._seen.update(dict.fromkeys(new, now))
        self._young = {pid for pid in (self._young & living) | new if now - self._seen[pid] <= YOUNG_SECONDS}
        for pid in self._young:
            for name in ("cmdline", "environ"):
                with contextlib.suppress(OSError):
                    self.texts.add(Path(f"/proc/{pid}/{name}").read_bytes())
        for path in self._state.glob("boot/*/tokens/*"):
            with contextlib.suppress(OSError):
                if token := path.read_text().strip():
                    self.tokens.add(token)

    def shown(self, words: str) -> list[str]:
        """What processes showed that has these words in it."""
        return [text.replace(b"\0", b" ").decode(errors="replace") for text in self.texts if words.encode() in text]


class Ear:
    """Packets with an address of that network on any link of this machine that is not a lab's own."""

    def __init__(self, network: IPv4Network) -> None:
        self.heard: list[str] = []
        self._network = network
        self._over = threading.Event()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._listen, name="ear", daemon=True)

    def __enter__(self) -> "Ear":
        for _, name in socket.if_nameindex():
            if name != "lo" and not name.startswith("pl"):
                ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
                ear.bind((name, EVERY_PROTOCOL))
                ear.setblocking(False)
                self._sockets.append(ear)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for ear in self._sockets:
            ear.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select(self._sockets, [], [], 0.1)
            for ear in ready:
                with contextlib.suppress(OSError):
                    self._take(ear.getsockname()[0], ear.recv(128))

    def _take(self, link: str, frame: bytes) -> None:
        kind = struct.unpack("!H", frame[12:14])[0]
        places = {IPV4: (26, 30), ARP: (28, 38)}.get(kind, ())
        addresses = [socket.inet_ntoa(frame[place : place + 4]) for place in places if len(frame) >= place + 4]
        if any(IPv4Address(each) in self._network for each in addresses):
            self.heard.append(f"{link}: {' -> '.join(addresses)}")


def machine_facts() -> dict[str, set[str]]:
    """What of this machine nobody may touch, by kind; links and routes of other labs are left out."""
    links = [link for link in _ip("link") if not link["ifname"].startswith("pl")]
    return {
        "links": {f"{link['ifname']} {link['address']} mtu {link['mtu']} {sorted(link['flags'])}" for link in links},
        "addresses": {
            f"{link['ifname']} {each['local']}/{each['prefixlen']}"
            for link in _ip("addr")
            if not link["ifname"].startswith("pl")
            for each in link.get("addr_info", [])
        },
        "routes": {
            json.dumps(route, sort_keys=True)
            for route in _ip("route", "show", "table", "all")
            if not str(route.get("dev", "")).startswith("pl")
        },
        "rules": {json.dumps(rule, sort_keys=True) for rule in _ip("rule")},
        "sysctls": set(_sysctls()),
        "resolver": {Path("/etc/resolv.conf").read_text() if Path("/etc/resolv.conf").exists() else ""},
    }


def clock_offset_seconds() -> float:
    """Wall clock over the clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def lab_link(facility: str) -> tuple[list[str], list[str]]:
    """The links and routes of this machine that belong to that facility's lab."""
    from infra.lab.names import controller_link

    own = controller_link(facility)
    links = [link["ifname"] for link in _ip("link") if link["ifname"].startswith(own)]
    routes = [route["dst"] for route in _ip("route", "show", "table", "main") if route.get("dev") == own]
    return links, routes


def _ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-j", *words], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout or "[]"))


def _sysctls() -> Iterator[str]:
    """Every sysctl that can be set, but for those that move by themselves and those of labs' own links."""
    for path in Path("/proc/sys").rglob("*"):
        name = str(path.relative_to("/proc/sys"))
        moves = name.startswith(("fs/binfmt_misc", "fs/inotify", "kernel/random", "kernel/ns_last_pid"))
        if moves or "/pl" in name or not path.is_file() or not path.stat().st_mode & 0o200:
            continue
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield f"{name} = {path.read_text().strip()}"


def open_doors(words: str) -> list[str]:
    """Ports for all the world to which processes listen that have these words in arguments or environment.

    Those in a network namespace of a lab listen there, not on this machine.
    """
    own = Path("/proc/self/ns/net").readlink()
    found = []
    for connection in psutil.net_connections("tcp4"):
        address, port = connection.laddr or ("", 0)
        if connection.status != psutil.CONN_LISTEN or address.startswith("127.") or not connection.pid:
            continue
        folder = Path(f"/proc/{connection.pid}")
        with contextlib.suppress(OSError):
            shown = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if words.encode() in shown and (folder / "ns/net").readlink() == own:
                found.append(f"{address}:{port} of process {connection.pid}")
    return found
