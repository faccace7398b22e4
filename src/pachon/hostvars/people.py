"""What a host is told of people: who has an account, what for, and from where anybody may come."""

from pachon.hostvars import reaching
from pachon.model.facility import Facility, Host, Person, Site

ANYWHERE = "*"


def arguments(facility: Facility, site: Site, host: Host) -> dict[str, object]:
    """Arguments of the role ``people``."""
    bastion = reaching.BASTION_GROUP in host.groups
    here = [person for person in facility.people if bastion or host.enclave in person.enclaves]
    return {
        "people_accounts": [_account(person, host) for person in here],
        "people_automation_from": [*reaching.automation_comes_from(facility, site.name)],
        "people_from": [ANYWHERE] if bastion else [*reaching.people_come_from(facility)],
    }


def _account(person: Person, host: Host) -> dict[str, object]:
    rule = person.sudo if host.enclave in person.enclaves else ()
    return {"name": person.name, "title": person.title, "uid": person.uid, "sudo": list(rule)}
