"""Certificates with which people log in: short-lived, for one account, the one of their own name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.boot import ca
from pachon.errors import UsageError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Host, Person, Site

BASTION_GROUP = "bastion"
LONGEST = timedelta(hours=24)
USUAL = timedelta(hours=12)


class Certified(Frozen):
    """A certificate as it was given."""

    person: str
    certificate: Path
    """Beside the public key, where ssh looks for it."""
    until: datetime
    ssh_config: Path
    """With which ``ssh -F`` leads this person to every host, through bastions."""


def certify(
    state: Path,
    facility: Facility,
    person: Person,
    *,
    key: Path,
    life: timedelta = USUAL,
    sites: tuple[Site, ...] = (),
    now: datetime | None = None,
) -> Certified:
    """Write a certificate for the person's public key beside it; one of the sites signs (any of the facility's).

    Raises:
        UsageError: the life is too long, or the file holds no public key.
        PermanentError: no site has an authority here yet.
    """
    moment = now or datetime.now(UTC)
    if not timedelta(0) < life <= LONGEST:
        raise UsageError(
            f"a certificate lives at most {LONGEST.total_seconds() / 3600:.0f} hours, and at least some of one",
            cure="ask again tomorrow: it takes a second",
        )
    try:
        public = key.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{key} cannot be read", cure="give the public key: a file that ends in .pub") from error
    if "PRIVATE KEY" in public:
        raise UsageError(f"{key} is a private key: keep it to yourself", cure=f"give the public one, {key}.pub")
    words = public.split()
    if words[:1] != ["ssh-ed25519"] or len(words) < 2:
        raise UsageError(f"{key} is no ed25519 public key", cure="make one with 'ssh-keygen -t ed25519'")
    authority = ca.user_ca(state, sites or facility.sites)
    certificate = ca.sign_user(
        authority,
        " ".join(words[:2]),
        principals=(person.name,),
        key_id=f"{person.name}@{facility.name}",
        now=moment,
        life=life,
    )
    path = key.with_name(f"{key.name.removesuffix('.pub')}-cert.pub")
    ca.write(path, certificate + "\n", mode=0o644)
    until = (moment + life).replace(microsecond=0)
    return Certified(
        person=person.name, certificate=path, until=until, ssh_config=_write_ssh_config(state, facility, person, key)
    )


def bastions(site: Site) -> list[Host]:
    """The site's bastions that are to exist."""
    return [host for host in site.active_hosts if BASTION_GROUP in host.groups]


def _write_ssh_config(state: Path, facility: Facility, person: Person, key: Path) -> Path:
    blocks = []
    every = [(site, door) for site in facility.sites for door in bastions(site)]
    for site, door in every:
        address = site.machine_by_serial[door.machine].management_address
        blocks.append(f"Host {door.name} {door.name}.{facility.domain}\n    HostName {address}\n")
    for site in facility.sites:
        doors = bastions(site) or [door for _, door in every]
        names = [host.name for host in site.active_hosts if host not in doors]
        if doors and names:
            patterns = " ".join(f"{name} {name}.*" for name in names)
            blocks.append(f"Host {patterns}\n    ProxyJump {doors[0].name}\n")
    identity = key.absolute().with_name(key.name.removesuffix(".pub"))
    blocks.append(
        "Host *\n"
        f"    User {person.name}\n"
        f"    IdentityFile {identity}\n"
        "    IdentitiesOnly yes\n"
        "    ForwardAgent no\n"
        f"    UserKnownHostsFile {state / 'known_hosts'}\n"
        "    GlobalKnownHostsFile /dev/null\n"
        "    StrictHostKeyChecking yes\n"
        "    UpdateHostKeys no\n"
    )
    folder = state / "people"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{person.name}.ssh_config"
    ca.write(path, "\n".join(blocks))
    return path
