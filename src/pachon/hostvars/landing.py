"""What the landing page of a site shows: which services stand there and where they answer; how they are is measured."""

from pachon.hostvars.once import once
from pachon.model.facility import Facility, Placement, Site, SiteName
from pachon.model.service import Endpoint, Offer, ServiceState


def title(facility: Facility, site: Site) -> str:
    """Heading of the page."""
    return f"{site.title}: what runs here"


@once
def services(facility: Facility, site_name: SiteName) -> list[dict[str, object]]:
    """A row for each service that is placed at the site, the first tiers first."""
    placed = [each for each in facility.placements if each.site == site_name and each.offer is not None]
    rows = [_row(facility, each, each.offer) for each in placed if each.offer is not None]
    tiers = ("real-time", "critical", "operational")
    return sorted(rows, key=lambda row: (tiers.index(str(row["tier"])), str(row["title"]), str(row["enclave"])))


def measured(placement: Placement, offer: Offer) -> bool:
    """Whether endpoints of it are tried: it is there, runs on hosts, and the catalogue says how one is tried."""
    there = offer.state is ServiceState.DEPLOYABLE and placement.group
    return bool(there and any(offer.probe_of(endpoint) for endpoint in offer.endpoints))


def _row(facility: Facility, placement: Placement, offer: Offer) -> dict[str, object]:
    tried, there = measured(placement, offer), offer.state is ServiceState.DEPLOYABLE
    unmeasured = "no endpoint to try" if there else "only declared"
    return {
        "name": placement.service,
        "title": offer.title,
        "tier": str(offer.tier),
        "enclave": placement.enclave,
        "endpoints": [_endpoint(facility, placement, endpoint) for endpoint in offer.endpoints if there],
        "measured": tried,
        "unmeasured": "" if tried else unmeasured,
    }


def _endpoint(facility: Facility, placement: Placement, endpoint: Endpoint) -> dict[str, object]:
    by_name = endpoint.front is not None and endpoint.front.mode == "http" and placement.group
    port = "" if endpoint.number == 443 else f":{endpoint.number}"
    link = f"https://{placement.service}.{placement.site}.{facility.domain}{port}/" if by_name else ""
    return {"name": endpoint.name, "where": f"{endpoint.name} {endpoint.port}", "link": link}
