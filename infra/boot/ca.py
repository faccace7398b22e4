"""The SSH certificate authority of each site, the facility's trust files, and signed stamps.

A site has two CA keys (hosts, users) so that it can go on issuing when it is cut off; every site's hosts CA stands in
the one known_hosts. paramiko cannot read ``@cert-authority``, so it gets plain lines written from the signed records.
Hidden here: the OpenSSH formats (certificates, known_hosts, SSHSIG) and how files are replaced at once.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import ssh
from pydantic import Field

from infra.boot import sshsig
from pachon.errors import PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Site

HOST_DAYS = 90
AUTOMATION_HOURS = 24
AUTOMATION_RENEW_HOURS = 12
AUTOMATION_PRINCIPAL = "automation"
STAMP_NAMESPACE = "pachon-stamp"
BACKDATE = timedelta(hours=1)
"""Certificates begin this long ago, for hosts whose clock is a little behind."""


class SignedHost(Frozen):
    """One host whose keys the site's CA has signed."""

    names: tuple[str, ...]
    """Its name, fully qualified name and addresses."""
    keys: tuple[str, ...]
    """Its public host keys, ``type base64``."""


class SiteTrust(Frozen):
    """What a site's CA has said so far; kept in ``S/ca/<site>/hosts.json``."""

    hosts: dict[str, SignedHost] = Field(default_factory=dict)
    """By serial of the machine."""
    revoked: tuple[str, ...] = ()
    """Host keys that must never be believed again."""
    patterns: tuple[str, ...] = ()
    """Addresses this site's CA may speak for, as known_hosts patterns."""


def ensure_site(state: Path, site: Site) -> None:
    """Make the site's CA keys if it has none, and write the facility's trust files."""
    folder = state / "ca" / site.name
    _folder(folder)
    for kind in ("host", "user"):
        _ensure_key(folder / f"ssh_{kind}_ca", f"pachon {kind} CA of site {site.name}")
    networks = [site.management, *(segment.subnet for segment in site.segments)]
    patterns = tuple(sorted({*name_patterns(site), *(each for net in networks for each in network_patterns(net))}))
    with _held(state):
        trust = _trust(folder)
        if trust.patterns != patterns:
            _write_trust(folder, trust.model_copy(update={"patterns": patterns}))
        _write_known_hosts(state)


def ensure_automation_key(state: Path, facility: Facility, *, now: datetime | None = None) -> Path:
    """Path of the automation principal's private key, whose certificate (``<key>-cert.pub``) is good for hours yet.

    The first site with a CA signs it; hosts trust the users CAs of every site. Renewed when under twelve hours are
    left.
    """
    moment = now or datetime.now(UTC)
    _folder(state / "keys")
    key = state / "keys" / "automation"
    path = state / "keys" / "automation-cert.pub"
    authority = user_ca(state, facility.sites)
    with _held(state):
        public = _ensure_key(key, f"pachon automation of {facility.name}")
        if _good_for(path, public, authority, moment) < timedelta(hours=AUTOMATION_RENEW_HOURS):
            certificate = sign_user(
                authority,
                public,
                principals=(AUTOMATION_PRINCIPAL,),
                key_id=f"{AUTOMATION_PRINCIPAL}@{facility.name}",
                now=moment,
                life=timedelta(hours=AUTOMATION_HOURS),
            )
            write(path, certificate + "\n")
    return key


def user_ca(state: Path, sites: Sequence[Site]) -> Path:
    """Private key of the users CA of the first of the sites that has one; all hosts trust those of all sites.

    Raises:
        PermanentError: none of them has one.
    """
    for site in sites:
        key = state / "ca" / site.name / "ssh_user_ca"
        if key.exists():
            return key
    names = ", ".join(site.name for site in sites)
    raise PermanentError(
        f"there is no SSH authority of {names} on this machine yet", cure="run 'pachon up' first: it makes it"
    )


def sign_user(
    authority: Path, public: str, *, principals: Sequence[str], key_id: str, now: datetime, life: timedelta
) -> str:
    """A certificate with which the owner of this public key logs in as one of the principals."""
    return _sign(
        _private(authority),
        public,
        kind=ssh.SSHCertificateType.USER,
        key_id=key_id,
        principals=principals,
        since=now - BACKDATE,
        until=now + life,
    )


def sign_host(
    state: Path,
    site_name: str,
    *,
    serial: str,
    public_keys: Sequence[str],
    names: Sequence[str],
    now: datetime | None = None,
) -> tuple[str, ...]:
    """Certificates for the host keys of one machine, valid 90 days; the machine is entered in the trust files.

    Raises:
        PermanentError: a key is not an OpenSSH public key, or was revoked before.
    """
    moment = now or datetime.now(UTC)
    folder = state / "ca" / site_name
    authority = _private(folder / "ssh_host_ca")
    bare = tuple(_bare(line) for line in public_keys)
    with _held(state):
        trust = _trust(folder)
        for key in bare:
            if key in trust.revoked:
                raise PermanentError(
                    f"the host key that {serial} offers was revoked before",
                    cure="deploy the machine again: it makes new host keys",
                )
        certificates = tuple(
            _sign(
                authority,
                key,
                kind=ssh.SSHCertificateType.HOST,
                key_id=f"{names[0]}@{serial}",
                principals=tuple(names),
                since=moment - BACKDATE,
                until=moment + timedelta(days=HOST_DAYS),
            )
            for key in bare
        )
        entered = trust.hosts | {serial: SignedHost(names=tuple(names), keys=bare)}
        _write_trust(folder, trust.model_copy(update={"hosts": entered}))
        _write_known_hosts(state)
    return certificates


def revoke_host(state: Path, site_name: str, serial: str) -> None:
    """Put the machine's host keys on the revoked list and rewrite the trust files; nothing if it has none."""
    folder = state / "ca" / site_name
    with _held(state):
        trust = _trust(folder)
        gone = trust.hosts.get(serial)
        if gone is None:
            return
        left = {key: host for key, host in trust.hosts.items() if key != serial}
        revoked = tuple(dict.fromkeys((*trust.revoked, *gone.keys)))
        _write_trust(folder, trust.model_copy(update={"hosts": left, "revoked": revoked}))
        _write_known_hosts(state)


def host_keys(state: Path, site_name: str) -> dict[str, tuple[str, ...]]:
    """By serial, the public host keys that each machine made when it was last deployed."""
    return {serial: signed.keys for serial, signed in _trust(state / "ca" / site_name).hosts.items()}


def user_cas_public(state: Path, site_name: str) -> str:
    """The public lines that hosts of this site trust for users: its own users CA first, then those of other sites."""
    folders = sorted(_site_folders(state), key=lambda folder: (folder.name != site_name, folder.name))
    return "".join((folder / "ssh_user_ca.pub").read_text() for folder in folders)


def sign_stamp(state: Path, site_name: str, text: str) -> str:
    """Armoured signature over a stamp by the site's hosts CA (what ``ssh-keygen -Y sign`` would write)."""
    return sshsig.sign(_private(state / "ca" / site_name / "ssh_host_ca"), text.encode(), namespace=STAMP_NAMESPACE)


def stamp_is_genuine(state: Path, site_name: str, text: str, signature: str) -> bool:
    """Whether this site's hosts CA signed exactly this stamp."""
    line = (state / "ca" / site_name / "ssh_host_ca.pub").read_text()
    public = serialization.load_ssh_public_key(line.encode())
    if not isinstance(public, Ed25519PublicKey):
        return False
    try:
        sshsig.verify(public, text.encode(), signature, namespace=STAMP_NAMESPACE)
    except (InvalidSignature, ValueError):
        return False
    return True


def known_hosts(state: Path) -> str:
    """Trust bundle of all sites for OpenSSH and asyncssh: one authority line a site, one line a revoked key."""
    lines = []
    for folder in _site_folders(state):
        trust = _trust(folder)
        public = _bare((folder / "ssh_host_ca.pub").read_text())
        if trust.patterns:
            lines.append(f"@cert-authority {','.join(trust.patterns)} {public}")
        lines += [f"@revoked * {key}" for key in trust.revoked]
    return "".join(line + "\n" for line in lines)


def known_hosts_plain(state: Path) -> str:
    """The same trust for paramiko: one line for each signed key of each host."""
    lines = []
    for folder in _site_folders(state):
        for _, host in sorted(_trust(folder).hosts.items()):
            lines += [f"{','.join(host.names)} {key}" for key in host.keys]
    return "".join(line + "\n" for line in lines)


def write_ssh_config(facility: Facility, state: Path) -> Path:
    """Path of a configuration with which ``ssh -F <it> <host>`` logs in as automation, trusting only our CAs."""
    blocks = []
    for site in facility.sites:
        for host in site.active_hosts:
            machine = site.machine_by_serial[host.machine]
            blocks.append(
                f"Host {host.name} {host.name}.{facility.domain}\n    HostName {machine.management_address}\n"
            )
    blocks.append(
        "Host *\n"
        "    User pachon\n"
        f"    IdentityFile {state / 'keys' / 'automation'}\n"
        f"    CertificateFile {state / 'keys' / 'automation-cert.pub'}\n"
        "    IdentitiesOnly yes\n"
        "    IdentityAgent none\n"
        f"    UserKnownHostsFile {state / 'known_hosts'}\n"
        "    GlobalKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking yes\n"
        "    UpdateHostKeys no\n"
        "    PasswordAuthentication no\n"
        "    ConnectTimeout 5\n"
    )
    path = state / "ssh_config"
    write(path, "\n".join(blocks))
    return path


def name_patterns(site: Site) -> tuple[str, ...]:
    """The names of a site's hosts as known_hosts patterns: those that begin with its own name as one."""
    own = f"{site.name}-"
    others = [host.name for host in site.hosts if not host.name.startswith(own)]
    return (f"{own}*", *(pattern for name in others for pattern in (name, f"{name}.*")))


def network_patterns(network: IPv4Network) -> tuple[str, ...]:
    """The addresses of a network as known_hosts patterns, which know stars but no prefix lengths."""
    if network.prefixlen <= 8:
        return (str(network.network_address).split(".")[0] + ".*",)
    if network.prefixlen <= 24:
        octets = 2 if network.prefixlen <= 16 else 3
        parts = network.subnets(new_prefix=octets * 8)
        return tuple(".".join(str(part.network_address).split(".")[:octets]) + ".*" for part in parts)
    return tuple(str(address) for address in network)


def write(path: Path, text: str | bytes, *, mode: int = 0o600) -> None:
    """Replace the file at once: readers see the old content or the new, never half of it."""
    data = text.encode() if isinstance(text, str) else text
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sign(
    authority: Ed25519PrivateKey,
    public: str,
    *,
    kind: ssh.SSHCertificateType,
    key_id: str,
    principals: Sequence[str],
    since: datetime,
    until: datetime,
) -> str:
    try:
        key = serialization.load_ssh_public_key(public.encode())
    except ValueError as error:
        raise PermanentError(
            f"not an OpenSSH public key: {public[:40]!r}", cure="of a host: deploy it again; else give a .pub file"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise PermanentError("only ed25519 keys are signed here", cure="make the key with 'ssh-keygen -t ed25519'")
    builder = (
        serialization.SSHCertificateBuilder()
        .public_key(key)
        .serial(int.from_bytes(os.urandom(8), "big"))
        .type(kind)
        .key_id(key_id.encode())
        .valid_principals([name.encode() for name in principals])
        .valid_after(int(since.timestamp()))
        .valid_before(int(until.timestamp()))
    )
    if kind is ssh.SSHCertificateType.USER:
        for extension in (b"permit-port-forwarding", b"permit-pty"):
            builder = builder.add_extension(extension, b"")
    return builder.sign(authority).public_bytes().decode()


def _good_for(path: Path, public: str, authority: Path, now: datetime) -> timedelta:
    try:
        certificate = ssh.load_ssh_public_identity(path.read_bytes())
    except (OSError, ValueError):
        return timedelta(0)
    if not isinstance(certificate, ssh.SSHCertificate):
        return timedelta(0)
    openssh = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    signer = certificate.signature_key().public_bytes(*openssh).decode()
    subject = certificate.public_key().public_bytes(*openssh).decode()
    if subject != public or signer != _bare(authority.with_name(authority.name + ".pub").read_text()):
        return timedelta(0)
    return datetime.fromtimestamp(certificate.valid_before, UTC) - now


def _ensure_key(path: Path, comment: str) -> str:
    """Public line (without comment) of the key at this path, made when it is not there."""
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write(path.with_name(path.name + ".pub"), f"{public.decode()} {comment}\n", mode=0o644)
        write(path, private)
    return _bare(path.with_name(path.name + ".pub").read_text())


def _private(path: Path) -> Ed25519PrivateKey:
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError(f"{path} is no ed25519 key", cure="remove it and its .pub: a new one is made")
    return key


def _bare(line: str) -> str:
    return " ".join(line.split()[:2])


def _folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _site_folders(state: Path) -> list[Path]:
    return sorted(path.parent for path in (state / "ca").glob("*/ssh_host_ca.pub"))


def _trust(folder: Path) -> SiteTrust:
    path = folder / "hosts.json"
    return SiteTrust.model_validate_json(path.read_text()) if path.exists() else SiteTrust()


def _write_trust(folder: Path, trust: SiteTrust) -> None:
    write(folder / "hosts.json", json.dumps(trust.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")


def _write_known_hosts(state: Path) -> None:
    write(state / "known_hosts", known_hosts(state))
    write(state / "known_hosts.plain", known_hosts_plain(state))


@contextmanager
def _held(state: Path) -> Iterator[None]:
    """One writer of the trust files at a time, across processes."""
    with (state / "ca" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
