"""Status of hosts, asked over real SSH on loopback: up means that the right host lets us in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from pachon.definition import load
from pachon.drivers.run_file import Endpoint
from pachon.model.facility import Facility
from pachon.places import CHECKOUT
from pachon.status import FacilityStatus, SiteStatus, observe_site, records, troubles, unobserved_site

SMALL = CHECKOUT / "tests" / "cases" / "cli" / "small"


@asynccontextmanager
async def host_that_answers(state: Path, principal: str, said: str) -> AsyncIterator[int]:
    """Port of an SSH server with a signed host key for that principal, trusted by the state folder."""
    host_ca, user_ca, host_key, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(4))
    keys = state / "keys"
    keys.mkdir(parents=True)
    key.write_private_key(keys / "automation")
    user_ca.generate_user_certificate(key, "a", principals=["pachon"]).write_certificate(keys / "automation-cert.pub")
    (state / "known_hosts").write_text(f"@cert-authority * {host_ca.export_public_key().decode()}")

    async def answer(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(said)
        process.exit(0)

    trusted = f"cert-authority {user_ca.export_public_key().decode()}"
    certificate = host_ca.generate_host_certificate(host_key, "h", principals=[principal])
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[(host_key, certificate)],
        authorized_client_keys=asyncssh.import_authorized_keys(trusted),
        process_factory=answer,
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


def observed(state: Path, principal: str, said: str) -> tuple[Facility, SiteStatus]:
    facility = load(SMALL)
    site = facility.sites[0]

    async def observe() -> SiteStatus:
        async with host_that_answers(state, principal, said) as port:
            address = str(site.machines[0].management_address)
            detours = {address: Endpoint(host="127.0.0.1", port=port)}
            hosts = await observe_site(site, state, known=records(state, facility), detours=detours)
        return SiteStatus(name=site.name, title=site.title, boot_service="running", deploys={}, hosts=hosts)

    return facility, asyncio.run(observe())


def test_host_that_lets_us_in_is_up_since_its_first_process_began(tmp_path: Path) -> None:
    _, site = observed(tmp_path, "198.19.40.11", " 3600\n")
    web01, web02 = site.hosts
    assert web01.up
    assert web01.up_since is not None
    assert web01.reached_by == "pachon host ssh web01"
    assert (web02.up, web02.reason, web02.right) == (False, "", True)
    assert troubles((site,), condition="") == ()


def test_host_with_the_key_of_another_is_not_up(tmp_path: Path) -> None:
    _, site = observed(tmp_path, "198.19.40.99", "3600")
    assert not site.hosts[0].up
    assert "has no host key that this facility has signed" in site.hosts[0].reason
    (trouble,) = troubles((site,), condition="")
    assert trouble.startswith("host web01: ")


def test_host_that_answers_nonsense_is_not_up(tmp_path: Path) -> None:
    _, site = observed(tmp_path, "198.19.40.11", "what?")
    assert (site.hosts[0].up, site.hosts[0].reason) == (False, "it answers nonsense")


def test_hosts_of_a_lab_that_is_down_are_not_asked_and_named(tmp_path: Path) -> None:
    facility = load(SMALL)
    hosts = unobserved_site(facility.sites[0], known={}, reason="the lab is down")
    site = SiteStatus(name="here", title="Here", boot_service="stopped", deploys={}, hosts=hosts)
    degraded = troubles((site,), condition="down")
    assert degraded == (
        "the emulated hardware is down",
        "site here: the boot service is stopped",
        "host web01: the lab is down",
    )
    whole = FacilityStatus(facility="t-small", hardware="lab", condition="down", sites=(site,), degraded=degraded)
    assert FacilityStatus.model_validate_json(whole.model_dump_json()) == whole
