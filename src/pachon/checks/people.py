"""People: each with a name and number of their own, in enclaves that are there, and never an account of the system."""

from collections.abc import Iterator

from pachon.checks.notes import Claim, Note, contested, near
from pachon.model.facility import Facility

SYSTEM_ACCOUNTS = frozenset(
    [
        "_apt",
        "backup",
        "bin",
        "campaign",
        "daemon",
        "games",
        "gnats",
        "irc",
        "list",
        "lp",
        "mail",
        "man",
        "messagebus",
        "munge",
        "mysql",
        "news",
        "nobody",
        "pachon",
        "proxy",
        "root",
        "slurm",
        "sshd",
        "sync",
        "sys",
        "ulog",
        "unbound",
        "uucp",
    ]
)
"""Accounts that images have, or that roles make."""


def people(facility: Facility) -> Iterator[Note]:
    """Everything wrong with people."""
    enclaves = [enclave.name for enclave in facility.enclaves]
    for person in facility.people:
        address = f"person/{person.name}"
        if person.name in SYSTEM_ACCOUNTS or person.name.startswith("systemd-"):
            yield Note(address, f"{person.name!r} is an account of the system", "give the person another name", "name")
        for name in person.enclaves:
            if name not in enclaves:
                cure = near(name, enclaves, otherwise="add it to enclaves")
                yield Note(address, f"there is no enclave {name!r}", cure, "enclaves", missing=name)
    claims = [(f"person/{person.name}", person) for person in facility.people]
    yield from contested(
        "login name",
        (Claim(person.name, address, "name") for address, person in claims),
        cure="give one of them another name",
    )
    yield from contested(
        "uid", (Claim(person.uid, address, "uid") for address, person in claims), cure="give each a number of their own"
    )
