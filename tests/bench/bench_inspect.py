"""How long it takes to inspect 2,015 BMCs, 5 % of them faulty, with our client and with sushy on threads.

Both in the same run against the same emulator, which is a process of its own, over TLS on loopback. Prints a table and,
last, one JSON line. ``--only-ours`` prints just what the scale test asserts on. All under 1,024 file descriptors.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from infra.lab.bmc import certificate, faults
from infra.lab.bmc.faults import Faults
from infra.lab.bmc.hardware import PowerState
from infra.lab.bmc.idle import IdleSite
from pachon.drivers.redfish import Endpoint, Inventory, Limits, Target, inspect_all
from pachon.model.facility import Disk, Machine, Nic

PASSWORD = "bench-password"
FILE_LIMIT = 1024
FAULTS = (
    Faults(no_answer=True),
    Faults(slow_seconds=5.0),
    Faults(other_serial="ELSE"),
    Faults(http_500_rate=0.3),
    Faults(garbage_json=True),
    Faults(tls_changed=True),
    Faults(lies_about_power=PowerState.ON),
    Faults(ignores_boot_override=True),
)


def machine(number: int) -> Machine:
    return Machine(
        serial=f"SCL{number:05}",
        site="base",
        rack=f"r{number // 40}",
        unit=number % 40 + 1,
        vendor="pachon",
        model="container",
        cpus=64,
        memory_mib=262144,
        bmc_address=IPv4Address("127.78.0.0") + number,
        management_address=IPv4Address("198.19.0.0") + number,
        bmc_tls_sha256="",
        nics=tuple(
            Nic(name=f"eth{n}", mac=f"02:78:{n:02x}:00:{number >> 8:02x}:{number & 255:02x}", speed_gbps=25)
            for n in range(2)
        ),
        disks=tuple(Disk(name=f"nvme{n}", serial=f"S{number}-{n}", media="nvme", size_gib=1788) for n in range(4)),
    )


def faulty(count: int, share: float) -> dict[int, Faults]:
    """Number of the machine: what is wrong with it; spread evenly."""
    step = max(1, round(1 / share))
    return {number: FAULTS[index % len(FAULTS)] for index, number in enumerate(range(step, count + 1, step))}


class Site:
    """The emulator's process for the length of a block."""

    def __init__(self, count: int, share: float) -> None:
        self.numbers = range(1, count + 1)
        self.faulty = faulty(count, share)
        self._keep = tempfile.TemporaryDirectory(prefix="pachon-inspect-")
        self.folder = Path(self._keep.name)
        self.start_seconds = 0.0

    def __enter__(self) -> "Site":
        faults.put(self.folder, {machine(number).serial: fault for number, fault in self.faulty.items()})
        password = self.folder / "password"
        password.write_text(PASSWORD)
        site = IdleSite(
            machines=tuple(machine(number) for number in self.numbers), folder=self.folder, password_file=password
        )
        config = self.folder / "site.json"
        config.write_text(site.model_dump_json())
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infra.lab.bmc.idle", str(config)], stdin=subprocess.PIPE
        )
        ready = self.folder / "ready"
        while not ready.exists():
            if self._process.poll() is not None:
                raise RuntimeError("the emulator ended")
            time.sleep(0.02)
        self.start_seconds = time.monotonic() - began
        self.port = int(ready.read_text())
        self.pin = certificate.fingerprint(self.folder / "bmc.crt")
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._keep.cleanup()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def ours(site: Site) -> dict[str, Any]:
    targets = [
        Target(
            serial=machine(number).serial,
            endpoint=Endpoint(str(machine(number).bmc_address), site.port),
            tls_sha256=site.pin,
        )
        for number in site.numbers
    ]
    most = heard = 0

    def told(serial: str, result: object) -> None:
        nonlocal most, heard
        heard += 1
        if heard % 8 == 0:
            most = max(most, open_files())

    began, processor = time.monotonic(), time.process_time()
    limits = Limits(request=timedelta(seconds=2))
    results = asyncio.run(inspect_all(targets, "pachon", SecretStr(PASSWORD), limits=limits, told=told))
    seconds = time.monotonic() - began
    wrong = [
        serial
        for serial, found in results.items()
        if isinstance(found, Inventory) and (found.serial != serial or len(found.disks) != 4 or found.cpus != 64)
    ]
    by_fault: dict[str, Counter[str]] = {}
    for number in site.numbers:
        fault = site.faulty.get(number, faults.SOUND)
        name = next(iter(fault.model_dump(exclude_defaults=True)), "sound")
        kind = type(results[machine(number).serial]).__name__
        by_fault.setdefault(name, Counter())[kind] += 1
    return {
        "machines": len(results),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),
        "most_open_files": most,
        "wrong": wrong,
        "results": by_fault,
    }


def sushy_threads(site: Site, count: int, threads: int) -> dict[str, Any]:
    import sushy  # type: ignore[import-untyped]  # it ships no types
    from sushy import auth, connector

    def inspect(number: int) -> bool:
        base = f"https://{machine(number).bmc_address}:{site.port}"
        # The TLS setting spares it from loading the system's certificates for each connection; it opens one a request.
        wire = connector.Connector(
            base, verify=False, default_request_timeout=2, server_side_retries=2, tls_min_version="1.2"
        )
        try:
            root = sushy.Sushy(f"{base}/redfish/v1/", auth=auth.BasicAuth("pachon", PASSWORD), connector=wire)
            (system,) = root.get_system_collection().get_members()
            sizes = [drive.capacity_bytes for each in system.storage.get_members() for drive in each.drives]
            nics = dict(system.ethernet_interfaces.summary)
            return bool(sizes and nics and system.power_state and system.memory_summary.size_gib)
        except (sushy.exceptions.SushyError, ValueError, OSError):
            return False
        finally:
            wire.close()

    numbers = list(site.numbers)[:count]
    began, processor = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        good = sum(pool.map(inspect, numbers))
    return {
        "machines": len(numbers),
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),
        "answered": good,
        "threads": threads,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=2015)
    parser.add_argument("--faulty", type=float, default=0.05)
    parser.add_argument("--sushy-machines", type=int, default=160)
    parser.add_argument("--only-ours", action="store_true")
    wanted = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILE_LIMIT, hard), hard))
    with Site(wanted.machines, wanted.faulty) as site:
        mine = ours(site)
        if wanted.only_ours:
            say(json.dumps({**mine, "file_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}))
            return
        theirs = sushy_threads(site, wanted.sushy_machines, threads=16)
    rate, other = mine["machines"] / mine["seconds"], theirs["machines"] / theirs["seconds"]
    say(f"{'client':<22}{'machines':>9}{'seconds':>9}{'per s':>8}{'CPU ms each':>13}{'open files':>12}")
    for name, row, files in (
        ("pachon", mine, str(mine["most_open_files"])),
        (f"sushy, {theirs['threads']} threads", theirs, "-"),
    ):
        each = 1000 * row["cpu_seconds"] / row["machines"]
        speed = row["machines"] / row["seconds"]
        say(f"{name:<22}{row['machines']:>9}{row['seconds']:>9}{speed:>8.0f}{each:>13.1f}{files:>12}")
    say(f"emulator ready after {site.start_seconds:.1f} s; {len(site.faulty)} faulty BMCs, 2 s a request")
    say(
        json.dumps(
            {
                "bench": "inspect",
                "ours": mine,
                "sushy": theirs,
                "ratio": {"machines_per_second": round(rate / other, 2)},
            }
        )
    )


if __name__ == "__main__":
    main()
