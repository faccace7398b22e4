"""The links between a lab's sites: made, watched, cut and mended.

A cut is the state of the link's ends and of the hub's rules, so it lasts whoever made it, and ends with ``up``.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.lab import alive, cgroups, forwarder, ip, kernel, launch, names, wiring
from infra.lab.forwarder import LinkSpec
from pachon.errors import MissingError, UsageError
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Link, Site

START_SECONDS = 60


class LinkStatus(Frozen):
    """A wide-area link of a lab."""

    name: str
    sites: tuple[str, str]
    rate_mbps: int
    delay_ms: int
    """One way."""
    pid: int | None
    """The process that carries its frames; none: it carries nothing."""
    cut: bool
    """Somebody cut it, at one end at least."""


def ensure(facility: Facility, *, state: Path) -> list[str]:
    """Every link that something is plugged into carries frames, cut ones too; what was done for it, in words."""
    present = _names(names.wan(facility.name))
    cut = {link.name for link in facility.links if _is_cut(facility.name, link.name, link.sites)}
    changes: list[str] = []
    for site in facility.sites:
        floor = names.floor(facility.name, site.name)
        ip.batch(wiring.link_end_lines(facility, site, _names(floor)), namespace=floor)
        changes += [f"mended the way to site {site.name}, which was cut off"] if mend_hub(facility, site) else []
    ends = wiring.link_ends(facility)
    ip.batch([f"link set {end.inner} up" for end in ends], namespace=names.wan(facility.name))
    folder = _folder(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for link in facility.links:
        inner = tuple(end.inner for end in ends if end.link == link.name)
        if len(inner) == 2:
            changes += [f"mended link {link.name}, which was cut"] if link.name in cut else []
            changes += _carry(facility, link, (inner[0], inner[1]), folder, renewed=not present.issuperset(inner))
    for path in sorted(folder.glob("*.json")):
        if path.stem not in {end.link for end in ends}:
            _end(facility.name, path)
            changes.append(f"took link {path.stem} away")
    return changes


def status(facility: str, *, state: Path) -> tuple[LinkStatus, ...]:
    """The links as they are now."""
    found: list[LinkStatus] = []
    for path in sorted(_folder(state).glob("*.json")):
        spec = forwarder.load(path)
        found.append(
            LinkStatus(
                name=spec.name,
                sites=spec.sites,
                rate_mbps=spec.rate_mbps,
                delay_ms=spec.delay_ms,
                pid=alive.holder(forwarder.lock_path(path)),
                cut=_is_cut(facility, spec.name, spec.sites),
            )
        )
    return tuple(found)


def sites_cut_off(facility: str) -> frozenset[str]:
    """Sites that the controller hears nothing of, since somebody cut them off."""
    hub = names.hub(facility)
    if not ip.exists(hub):
        return frozenset()
    links = {rule.get("iif") for rule in ip.show("rule", namespace=hub) if _cuts(rule)} - {None}
    return frozenset(
        str(link["ifalias"]) for link in (ip.show("link", namespace=hub) if links else ()) if link["ifname"] in links
    )


def cut_link(facility: Facility, name: str) -> None:
    """Nothing passes the link any more; what was under way is lost, and neither end is told.

    Raises:
        MissingError: the lab is not up.
        UsageError: there is no such link, or nothing is plugged into it.
    """
    _set_ends(facility, "down", lambda end: end.link == name, f"link {name!r}", known=_plugged(facility))


def mend_link(facility: Facility, name: str) -> None:
    """The link passes frames again; raises as ``cut_link``."""
    _set_ends(facility, "up", lambda end: end.link == name, f"link {name!r}", known=_plugged(facility))


def cut_site(facility: Facility, name: str) -> None:
    """Nothing passes between the site and any other, nor between it and the controller of this machine.

    Raises:
        MissingError: the lab is not up.
        UsageError: there is no such site.
    """
    site = _site(facility, name)
    _set_ends(facility, "down", lambda end: end.site == name, "")
    if not _cut_rules(facility, site):
        ip.batch([f"rule add {line}" for line in wiring.cut_lines(facility, site)], namespace=names.hub(facility.name))


def mend_site(facility: Facility, name: str) -> None:
    """The site's ends of its links and its way to the controller pass frames again; raises as ``cut_site``.

    A link that was cut as a whole, or whose other site is cut off, stays so.
    """
    site = _site(facility, name)
    _set_ends(facility, "up", lambda end: end.site == name, "")
    mend_hub(facility, site)


def mend_hub(facility: Facility, site: Site) -> bool:
    """Whether the way between controller and site had been cut; it is open now."""
    rules = _cut_rules(facility, site)
    ip.batch([f"rule del priority {rule['priority']}" for rule in rules], namespace=names.hub(facility.name))
    return bool(rules)


def _cuts(rule: dict[str, Any]) -> bool:
    return rule.get("action") == "blackhole" and int(rule.get("priority", 0)) >= wiring.CUT_PRIORITY


def _cut_rules(facility: Facility, site: Site) -> list[dict[str, Any]]:
    """The hub's rules that cut the site off."""
    own = wiring.CUT_PRIORITY + [each.name for each in facility.sites].index(site.name)
    rules = ip.show("rule", namespace=names.hub(facility.name))
    return [rule for rule in rules if _cuts(rule) and rule["priority"] == own]


def _set_ends(
    facility: Facility, state: str, wanted: Callable[[wiring.LinkEnd], bool], what: str, known: tuple[str, ...] = ()
) -> None:
    wan = names.wan(facility.name)
    if not ip.exists(wan):
        raise MissingError(f"the lab of {facility.name!r} is not up", cure="'pachon lab up' builds it")
    ends = [end for end in wiring.link_ends(facility) if wanted(end)]
    if what and not ends:
        raise UsageError(
            f"facility {facility.name!r} has no {what} that something is plugged into",
            cure=f"there is {', '.join(known) or 'none at all'}",
        )
    ip.batch([f"link set {end.inner} {state}" for end in ends], namespace=wan)


def _plugged(facility: Facility) -> tuple[str, ...]:
    return tuple(dict.fromkeys(end.link for end in wiring.link_ends(facility)))


def _site(facility: Facility, name: str) -> Site:
    try:
        return facility.site(name)
    except KeyError as error:
        raise UsageError(
            f"facility {facility.name!r} has no site {name!r}",
            cure=f"there is {', '.join(site.name for site in facility.sites)}",
        ) from error


def _folder(state: Path) -> Path:
    return state / "lab" / "links"


def _names(namespace: str) -> frozenset[str]:
    return frozenset(str(link["ifname"]) for link in ip.show("link", namespace=namespace))


def _is_cut(facility: str, link: str, sites: tuple[str, str]) -> bool:
    """Whether an end of the link is there and down."""
    ends = {names.wan_end(link, site) for site in sites}
    links = ip.show("link", namespace=names.wan(facility)) if ip.exists(names.wan(facility)) else []
    return any(each["ifname"] in ends and "UP" not in each["flags"] for each in links)


def _carry(facility: Facility, link: Link, ends: tuple[str, str], folder: Path, *, renewed: bool) -> list[str]:
    """What was done for the link's process to run, as the definition says and on the ends that are there now."""
    path = folder / f"{link.name}.json"
    spec = LinkSpec(
        facility=facility.name,
        name=link.name,
        sites=link.sites,
        ends=ends,
        rate_mbps=link.rate_mbps,
        delay_ms=link.delay_ms,
    )
    if alive.holder(forwarder.lock_path(path)) is not None:
        if not renewed and forwarder.load(path) == spec:
            return []
        cgroups.link(facility.name, link.name).kill()
    forwarder.save(path, spec)
    launch.start(
        "infra.lab.forwarder",
        path,
        log=path.with_suffix(".log"),
        timeout=timedelta(seconds=START_SECONDS),
        prefix=("nsenter", f"--net={kernel.NETNS_FOLDER / names.wan(facility.name)}", "--"),
    )
    return [f"started link {link.name}: {link.rate_mbps} Mbit/s, {link.delay_ms} ms one way"]


def _end(facility: str, path: Path) -> None:
    group = cgroups.link(facility, path.stem)
    group.kill()
    group.remove()
    for each in path.parent.glob(f"{path.stem}.*"):
        each.unlink()
