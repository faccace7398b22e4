"""What is affected if something goes away, on both facilities that ship."""

import pytest

from pachon.blast import Blast, blast, lines_of
from pachon.definition import find, load
from pachon.definition.catalogue import load as load_catalogue
from pachon.errors import UsageError
from pachon.model.facility import Facility, Placement
from pachon.model.service import Need, Service


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return load_catalogue()


def effects(found: Blast) -> dict[str, str]:
    """Effect by address."""
    return {hit.address: hit.effect for hit in found.hits}


def test_all_that_hangs_on_a_switch_is_cut_off_and_what_it_carried_with_it(
    lab: Facility, services: dict[str, Service]
) -> None:
    found = blast(lab, services, "base/host/base-sw01")
    told = effects(found)
    others = [host for host in lab.site("base").active_hosts if host.name != "base-sw01"]
    assert told["base/host/base-sw01"] == "gone"
    assert {told[f"base/host/{host.name}"] for host in others} == {"cut off"}
    assert told["base/service/batch-computing"] == "down"
    assert told["base/volume/base-campaign"] == told["base/segment/offline-production"] == "cut off"
    assert told["link/base-archive"] == "cut off"
    assert not any(address.startswith("archive/") for address in told)
    assert len(lines_of(found.hits)) < len(found.hits)


def test_a_worker_takes_nothing_with_it_and_says_what_could_stand_in(
    lab: Facility, services: dict[str, Service]
) -> None:
    found = blast(lab, services, "base-batch01")
    assert found.address == "base/host/base-batch01"
    assert effects(found) == {"base/host/base-batch01": "gone", "base/hosts/batch": "down"}
    assert any("free machine" in note for note in found.notes)


def test_a_gateway_closes_its_segments_and_its_end_of_the_link(lab: Facility, services: dict[str, Service]) -> None:
    told = effects(blast(lab, services, "base-gw01"))
    closed = {address for address, effect in told.items() if "/segment/" in address and effect == "cut off"}
    assert closed == {
        f"base/segment/{segment.enclave}" for segment in lab.site("base").segments if _has_hosts(lab, segment)
    }
    assert told["archive"] == told["base"] == "degraded"


def _has_hosts(lab: Facility, segment: object) -> bool:
    from pachon.model.facility import Segment
    from pachon.model.interfaces import gateway_of

    assert isinstance(segment, Segment)
    return gateway_of(lab.site(segment.site), segment.enclave) is not None


def test_a_rack_is_its_machines_and_all_that_follows(lab: Facility, services: dict[str, Service]) -> None:
    found = blast(lab, services, "base/rack/b01")
    inside = {machine.serial for machine in lab.site("base").machines if machine.rack == "b01"}
    assert {address for address in effects(found) if "/machine/" in address} == {
        f"base/machine/{each}" for each in inside
    }


def test_a_switch_of_the_management_segment_leaves_hosts_working_and_unmanaged(
    lab: Facility, services: dict[str, Service]
) -> None:
    switch = lab.site("base").unmanaged_switches[0].name
    told = effects(blast(lab, services, f"base/switch/{switch}"))
    assert {effect for address, effect in told.items() if "/host/" in address} == {"unmanaged"}


def test_who_needs_a_service_suffers_with_it(lab: Facility, services: dict[str, Service]) -> None:
    placed = [
        Placement(service=name, site=site, enclave="us-dac", group="")
        for name, site in (("science-portal", "archive"), ("data-access-apis", "archive"), ("authentication", "base"))
    ]
    needing = {
        name: services[name].model_copy(
            update={"needs": (Need(service=needed, contract="", endpoint="", later=False),)}
        )
        for name, needed in (("science-portal", "data-access-apis"), ("data-access-apis", "authentication"))
    }
    changed = lab.model_copy(update={"placements": tuple(placed)})
    told = effects(blast(changed, {**services, **needing}, "service/authentication"))
    assert told == {
        "base/service/authentication": "down",
        "archive/service/data-access-apis": "down",
        "archive/service/science-portal": "down",
    }


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        ("base/rack/b1", "did you mean"),
        ("base/host/base-batch1", "did you mean"),
        ("nowhere/host/a", "an address is such as"),
        ("base/thing/a", "an address is such as"),
        ("link/base-archiv", "did you mean base-archive"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(
    lab: Facility, services: dict[str, Service], address: str, cure: str
) -> None:
    with pytest.raises(UsageError) as refused:
        blast(lab, services, address)
    assert cure in refused.value.cure


def test_a_whole_site_of_the_full_facility_is_followed_to_its_services(services: dict[str, Service]) -> None:
    rubin = load(find("rubin"))
    found = blast(rubin, services, "archive")
    assert found.counts["gone"] > 1500
    assert any(hit.address.startswith("archive/service/") and hit.effect == "down" for hit in found.hits)
    assert len(lines_of(found.hits)) < 200
