"""Fifty hosts on loopback: a facility's definition, its keys, and an sshd for each host that lets automation in.

Called inside namespaces of the bench's own, where every address of 127.0.0.0/8 is free, an ordinary user may open port
22, and ``/etc/passwd`` has the account that automation logs in to.
"""

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.boot import ca
from pachon import definition
from pachon.model.facility import Facility, Site
from tests.e2e import making

COUNT = 50
START_SECONDS = 60
STOP_SECONDS = 10
SUDO = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    -u|-p) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *) break ;;
  esac
done
exec "$@"
"""
"""Takes sudo's place on these hosts, where all is done by the one account that there is."""


@dataclass(frozen=True)
class Endpoints:
    """The hosts."""

    facility: Facility
    folder: Path
    """Of the definition."""
    state: Path
    logs: Path

    @property
    def site(self) -> Site:
        """The one site."""
        return self.facility.sites[0]

    @property
    def addresses(self) -> dict[str, str]:
        """Where each host is reached, by its name."""
        machines = self.site.machine_by_serial
        return {host.name: str(machines[host.machine].management_address) for host in self.site.hosts}

    def full_name(self, host: str) -> str:
        """What the role calls a host, and its folder."""
        return f"{host}.{self.facility.domain}"


def made(scratch: Path) -> Endpoints:
    """Definition and keys, written below this folder."""
    folder = making.small(scratch / "facility", name="race", network="127.77.0", containers=COUNT)
    for path in (folder / "facility.yaml", folder / "sites" / "here" / "site.yaml"):
        text = path.read_text().replace("hardware: lab", "hardware: racks")
        path.write_text(text.replace("units: 48", "units: 60").replace("ports: 48", "ports: 64"))
    state = scratch / "state" / "race"
    state.mkdir(parents=True, mode=0o700)
    found = Endpoints(facility=definition.load(folder), folder=folder, state=state, logs=scratch)
    ca.ensure_site(state, found.site)
    key = ca.ensure_automation_key(state, found.facility)
    keys = scratch / "sshd"
    keys.mkdir()
    for host in found.site.hosts:
        own = keys / host.name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(own)], check=True)
        public = own.with_suffix(".pub").read_text()
        names = (host.name, found.addresses[host.name])
        (signed,) = ca.sign_host(state, found.site.name, serial=host.machine, public_keys=[public], names=names)
        (keys / f"{host.name}-cert.pub").write_text(signed + "\n")
        (keys / f"{host.name}.conf").write_text(_configuration(scratch, own, found.addresses[host.name]))
    (keys / "users").write_text(ca.user_cas_public(state, found.site.name))
    (keys / "principals").write_text(f"{ca.AUTOMATION_PRINCIPAL}\n")
    (keys / "authorized").write_text(key.with_suffix(".pub").read_text())
    ca.write_ssh_config(found.facility, state)
    (state / "known_hosts_plain").write_text(ca.known_hosts_plain(state))
    programs = scratch / "bin"
    programs.mkdir()
    (programs / "sudo").write_text(SUDO)
    (programs / "sudo").chmod(0o755)
    return found


def _configuration(scratch: Path, key: Path, address: str) -> str:
    """As the product configures sshd, but for what only root may.

    The algorithms are for the others: left alone, OpenSSH's client takes one that costs it ten times as much.
    """
    keys = scratch / "sshd"
    return f"""ListenAddress {address}:22
HostKey {key}
HostCertificate {key}-cert.pub
TrustedUserCAKeys {keys}/users
AuthorizedPrincipalsFile {keys}/principals
AuthorizedKeysFile {keys}/authorized
AuthenticationMethods publickey
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,sntrup761x25519-sha512@openssh.com
Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
PrintLastLog no
PidFile none
MaxStartups 100
SetEnv PATH={scratch}/bin:/usr/bin:/bin
Subsystem sftp internal-sftp
"""


@contextmanager
def running(endpoints: Endpoints, scratch: Path, *, join: Callable[[], None]) -> Iterator[None]:
    """An sshd for each host for the length of a block; ``join`` puts each process where it is accounted."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with (endpoints.logs / "sshd.log").open("ab") as log:
            for host in endpoints.addresses:
                argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(scratch / "sshd" / f"{host}.conf")]
                processes.append(
                    subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=join)  # noqa: PLW1509
                )
        asyncio.run(_until_open(list(endpoints.addresses.values())))
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            process.wait()


async def _until_open(addresses: list[str]) -> None:
    until = time.monotonic() + START_SECONDS
    for address in addresses:
        while True:
            with suppress(OSError), socket.create_connection((address, 22), timeout=1):
                break
            if time.monotonic() > until:
                raise SystemExit(f"the sshd of {address} does not answer")
            await asyncio.sleep(0.05)
