"""Tries connections between hosts of a lab that is up: programs that listen on some, others that knock, and their logs.

Speaks to the hosts by plain ``ssh`` with the facility's own configuration; on them runs Python's own library alone.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 4
"""Hosts that are spoken to at the same time."""
PATIENCE_SECONDS = 300
UNIT = "pachon-trial"
LIFE_SECONDS = 1200
"""After so long a listener ends by itself."""

LISTEN = """
import selectors, socket, sys
doors = selectors.DefaultSelector()
for port in sys.argv[1:]:
    kind = socket.SOCK_STREAM if port.startswith("tcp/") else socket.SOCK_DGRAM
    door = socket.socket(socket.AF_INET, kind)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("", int(port[4:])))
    except OSError:
        continue  # a service of the host listens
    if kind == socket.SOCK_STREAM:
        door.listen(200)
    doors.register(door, selectors.EVENT_READ, kind)
while True:
    for key, _ in doors.select():
        if key.data == socket.SOCK_STREAM:
            key.fileobj.accept()[0].close()
        else:
            said, who = key.fileobj.recvfrom(100)
            key.fileobj.sendto(said, who)
"""

KNOCK = """
import errno, json, selectors, socket, sys, time
PATIENCE_SECONDS = 20
waiting, found = selectors.DefaultSelector(), {}
def note(name, error):
    refused = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.ENETUNREACH)
    found[name] = "open" if error == 0 else "refused" if error in refused else errno.errorcode.get(error, str(error))
for name in json.loads(sys.argv[1]):
    address, port = name.split(" ")
    kind = socket.SOCK_STREAM if port.startswith("tcp/") else socket.SOCK_DGRAM
    knock = socket.socket(socket.AF_INET, kind)
    knock.setblocking(False)
    error = knock.connect_ex((address, int(port[4:])))
    if kind == socket.SOCK_DGRAM:
        knock.send(b"?")
        waiting.register(knock, selectors.EVENT_READ, name)
    elif error in (0, errno.EINPROGRESS):
        waiting.register(knock, selectors.EVENT_WRITE, name)
    else:
        note(name, error)
def again(key):  # a kernel tells of few refusals at a time: what was not told is asked once more
    if key.events == selectors.EVENT_READ:
        try:
            key.fileobj.send(b"?")
        except OSError as error:
            waiting.unregister(key.fileobj)
            note(key.data, error.errno)
end = time.monotonic() + PATIENCE_SECONDS
while waiting.get_map() and time.monotonic() < end:
    ready = waiting.select(1)
    if not ready:
        for key in list(waiting.get_map().values()):
            again(key)
    for key, _ in ready:
        error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        waiting.unregister(key.fileobj)
        note(key.data, error)
for key in list(waiting.get_map().values()):
    found[key.data] = "silent"
print(json.dumps(found))
"""

_LOGGED = re.compile(r"pachon refused .* SRC=(\S+) DST=(\S+) .*PROTO=(\w+) .*DPT=(\d+)")


@dataclass(frozen=True)
class Attempt:
    """A connection that is tried."""

    source: str
    """Host that it starts from."""
    address: str
    """Where it goes."""
    port: str
    """Such as ``tcp/22``."""

    @property
    def name(self) -> str:
        """As the program on the host has it."""
        return f"{self.address} {self.port}"


@dataclass(frozen=True)
class Refusal:
    """A packet that a host's log says was refused."""

    source: str
    target: str
    port: str


class Hosts:
    """Hosts of a lab, over ssh."""

    def __init__(self, ssh_config: Path) -> None:
        self._config = ssh_config

    def run(self, host: str, argv: Sequence[str], *, program: str = "") -> str:
        """What a command of the host's root printed; ``program`` is its standard input."""
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)
        done = subprocess.run(
            ["ssh", "-F", str(self._config), host, f"sudo {quoted}"],
            input=program,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{host}: {' '.join(argv)[:200]}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def listening(self, hosts: Iterable[str], ports: Iterable[str]) -> Iterator[None]:
        """Within the block these ports answer on these hosts, unless a service of theirs does already."""
        named = list(hosts)
        start = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--property=RuntimeMaxSec={LIFE_SECONDS}"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            argv = [*start, "python3", "-c", LISTEN, *ports]
            list(pool.map(lambda host: self.run(host, argv), named))
        try:
            yield
        finally:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda host: self.run(host, ["sh", "-c", f"systemctl stop {UNIT}; true"]), named))

    def knock(self, attempts: Iterable[Attempt]) -> dict[Attempt, str]:
        """What came of each: ``open``, ``refused``, ``silent`` or the name of an error; host after host."""
        by_source: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            by_source.setdefault(attempt.source, []).append(attempt)
        found: dict[Attempt, str] = {}
        for source, own in by_source.items():
            said = self.run(source, ["python3", "-", json.dumps([each.name for each in own])], program=KNOCK)
            outcome = json.loads(said)
            found |= {each: outcome[each.name] for each in own}
        return found

    def refusals(self, hosts: Iterable[str]) -> set[Refusal]:
        """What the hosts' logs say was refused."""
        argv = ["journalctl", "--identifier=ulogd", "--output=cat", "--no-pager"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            texts = list(pool.map(lambda host: self.run(host, argv), hosts))
        lines = (found for text in texts for line in text.splitlines() if (found := _LOGGED.search(line)))
        return {Refusal(line[1], line[2], f"{line[3].lower()}/{line[4]}") for line in lines}
