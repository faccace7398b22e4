"""From facts and rules to the plan of a rollout, or to every reason why it may not begin. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pachon.checks.cycles import circle
from pachon.errors import RefusedError, UsageError
from pachon.model.rollout import HealthGate, Place, Release, Rules, WaveRule
from pachon.model.rollout_record import Hold
from pachon.model.service import Service
from pachon.rollout import stages, windows
from pachon.rollout.plan import RolloutPlan, Step, Wave


@dataclass(frozen=True)
class Facts:
    """What was seen, and what is on record, when the plan is made."""

    facility: str
    zones: Mapping[str, str]
    """Time zone of each site of the facility."""
    places: tuple[Place, ...]
    """Where the service stands."""
    running: Mapping[str, frozenset[str]]
    """Versions that serve or could, by the place's address."""
    artefacts: Mapping[str, frozenset[str]]
    """Digests that are there to be started from, by site."""
    releases: Mapping[str, Release]
    """What is known of the service's versions."""
    recorded: Mapping[str, str]
    """Digest of each version as it was first rolled out."""
    proven: frozenset[tuple[str, str, str]]
    """Digests of releases, each with a site and an enclave at which it was proven."""
    holds: tuple[Hold, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a rollout may not begin, and what would lift it."""

    why: str
    cure: str


def plan(facts: Facts, rules: Rules, service: Service, version: str, *, sites: Sequence[str] = ()) -> RolloutPlan:
    """The plan that brings the version to every place of the service (or of these sites) that has another one.

    Raises:
        UsageError: there is no such release, or it is everywhere already.
        RefusedError: with every reason.
    """
    if version not in facts.releases:
        known = ", ".join(sorted(facts.releases)) or "none"
        raise UsageError(f"{rules.service} has no release {version!r}", cure=f"it has {known}")
    new = facts.releases[version]
    found: list[Refusal] = []
    waves = _waves(rules, facts, found)
    chosen = [(rule, [place for place in places if not sites or place.site in sites]) for rule, places in waves]
    moving = [
        (rule, [place for place in places if facts.running.get(place.address) != frozenset({version})])
        for rule, places in chosen
    ]
    moving = [(rule, places) for rule, places in moving if places]
    if not found and not moving:
        where = f" at {', '.join(sites)}" if sites else ""
        raise UsageError(f"{rules.service} is at {version} already{where}", cure="nothing to do")
    places = tuple(place for _, each in moving for place in each)
    old = _old(facts, places, new, found)
    found += _about_release(facts, new)
    found += _artefacts(facts, places, new, "cannot be started there")
    if old is not None:
        found += _about_old(facts, old)
        found += _artefacts(facts, places, old, "could not be started again, so there would be no way back")
    found += _promotion(facts, rules, new, chosen=moving, all_waves=waves)
    found += _policy(rules, service)
    drawn = _steps(rules, moving, old, new, found) if old is not None else []
    found += _window_too_short(rules, drawn)
    if found or old is None:
        raise _refused(rules.service, version, found)
    return RolloutPlan(
        facility=facts.facility,
        service=rules.service,
        old=old,
        new=new,
        strategy=rules.strategy.kind,
        pace=rules.pace,
        gates=rules.gates,
        windows=rules.windows,
        zones=dict(facts.zones),
        needs_word=(service.change.observatory_veto or "") if service.change is not None else "",
        places=places,
        waves=tuple(drawn),
    )


def _refused(service: str, version: str, found: Sequence[Refusal]) -> RefusedError:
    if len(found) == 1:
        return RefusedError(found[0].why, cure=found[0].cure)
    lines = "".join(f"\n  - {each.why}: {each.cure}" for each in found)
    return RefusedError(f"{service} {version} may not be rolled out, for {len(found)} reasons{lines}", cure="")


def _waves(rules: Rules, facts: Facts, found: list[Refusal]) -> list[tuple[WaveRule, list[Place]]]:
    """The waves in their order, each with its places."""
    after = {rule.name: rule.after for rule in rules.waves}
    for rule in rules.waves:
        for name in rule.after:
            if name not in after:
                found.append(Refusal(f"wave {rule.name} comes after {name!r}, which is none", "name a wave"))
    if members := circle(after):
        told = " -> ".join((*members, members[0]))
        found.append(Refusal(f"waves wait for each other in a circle: {told}", "take one 'after' out"))
        return []
    ordered: list[WaveRule] = []
    while left := [rule for rule in rules.waves if rule not in ordered]:
        behind = {rule.name for rule in ordered} | {name for rule in left for name in rule.after if name not in after}
        ordered += [rule for rule in left if set(rule.after) <= behind]
    taken: dict[str, str] = {}
    for rule in ordered:
        for place in facts.places:
            if _covers(rule, place):
                if place.address in taken:
                    told = f"{place.address} is in the waves {taken[place.address]} and {rule.name}"
                    found.append(Refusal(told, "let each place be in one"))
                taken.setdefault(place.address, rule.name)
    for place in facts.places:
        if place.address not in taken:
            found.append(Refusal(f"{place.address} is in no wave", "add it to one in rollout.yaml"))
    return [(rule, [place for place in facts.places if taken.get(place.address) == rule.name]) for rule in ordered]


def _covers(rule: WaveRule, place: Place) -> bool:
    return place.site in rule.places or f"{place.site}/{place.enclave}" in rule.places


def _old(facts: Facts, places: Sequence[Place], new: Release, found: list[Refusal]) -> Release | None:
    """The one release that is to go."""
    versions: set[str] = set()
    for place in places:
        running = facts.running.get(place.address, frozenset())
        if not running:
            why = f"nothing of {place.service} serves at {place.address}: there is no way back from a first release"
            found.append(Refusal(why, "bring up its first release with 'pachon up'"))
        elif len(running) > 1:
            told = " and ".join(sorted(running))
            found.append(
                Refusal(
                    f"{place.address} has {told} at once", "end the rollout that left it so: 'pachon rollout status'"
                )
            )
        versions |= running
    versions.discard(new.version)
    if len(versions) > 1:
        told = ", ".join(sorted(versions))
        found.append(
            Refusal(f"places have different versions ({told})", "bring them to one first, site by site (--site)")
        )
    if len(versions) != 1:
        return None
    (version,) = versions
    if version not in facts.releases:
        why = f"{version}, which serves now, is no release that is known: it could not be started again"
        found.append(Refusal(why, f"put its file back: releases/{version}.yaml"))
        return None
    return facts.releases[version]


def _about_release(facts: Facts, new: Release) -> Iterator[Refusal]:
    for tag in new.tags:
        cure = "write sha256: and the 64 digits of what was built"
        yield Refusal(f"{tag} of {new.service} {new.version} is named by a tag, not by its digest", cure)
    recorded = facts.recorded.get(new.version)
    if recorded is not None and recorded != new.digest:
        why = f"{new.service} {new.version} is not what was rolled out under that version before"
        yield Refusal(why, "give what changed a version of its own")
    for hold in facts.holds:
        if hold.version == new.version:
            why = f"{new.service} {new.version} is held since {hold.at:%Y-%m-%d %H:%M} UTC by {hold.by}: {hold.why}"
            cure = f"mend it under another version, or 'pachon rollout lift {new.service} {new.version} --why REASON'"
            yield Refusal(why, cure)


def _about_old(facts: Facts, old: Release) -> Iterator[Refusal]:
    """Why the old version would not come back as it was."""
    if facts.recorded.get(old.version, old.digest) != old.digest:
        why = f"{old.service} {old.version}, which serves now, can no longer be what it was: its file was changed since"
        yield Refusal(
            why, f"put releases/{old.version}.yaml back as it was, and give what changed a version of its own"
        )
    for tag in old.tags:
        why = (
            f"{tag} of {old.service} {old.version}, which serves now, is named by a tag: it could come back as another"
        )
        yield Refusal(why, "write sha256: and the 64 digits of what was built")


def _artefacts(facts: Facts, places: Sequence[Place], release: Release, what: str) -> Iterator[Refusal]:
    for site in dict.fromkeys(place.site for place in places):
        there = facts.artefacts.get(site, frozenset())
        gone = [each for each in release.artefacts if each.digest not in there]
        for each in gone:
            if each.name not in release.tags:
                why = f"{release.service} {release.version} {what}: {each.name} ({each.digest[:19]}…) is not at {site}"
                yield Refusal(why, f"bring it to {site} first")


def _promotion(
    facts: Facts,
    rules: Rules,
    new: Release,
    *,
    chosen: Sequence[tuple[WaveRule, list[Place]]],
    all_waves: Sequence[tuple[WaveRule, list[Place]]],
) -> Iterator[Refusal]:
    """What was not proven, by this very digest, where earlier waves are that this rollout leaves out."""
    by_name = {rule.name: rule for rule in rules.waves}
    places_of = {rule.name: places for rule, places in all_waves}
    inside = {place.address for _, places in chosen for place in places}
    needed: dict[str, None] = {}
    waiting = [name for rule, _ in chosen for name in rule.after]
    while waiting:
        name = waiting.pop(0)
        if name in by_name and name not in needed:
            needed[name] = None
            waiting += by_name[name].after
    for name in needed:
        for place in places_of.get(name, ()):
            proven = (new.digest, place.site, place.enclave) in facts.proven
            if place.address not in inside and not proven:
                where = f"{place.site}/{place.enclave}"
                why = f"{new.service} {new.version} ({new.digest[:19]}…) was not proven at {where}, which comes before"
                yield Refusal(why, f"roll it out there first: --site {place.site}")


def _policy(rules: Rules, service: Service) -> Iterator[Refusal]:
    change = service.change
    if change is not None and change.when in ("by-day", "not-observing") and not rules.windows:
        why = f"changes of {service.name} come {change.when} ({change.basis}), and its rollout.yaml has no window"
        yield Refusal(why, "write when a wave may begin under 'windows'")
    for gate in rules.gates:
        if isinstance(gate, HealthGate) and service.probe(gate.probe) is None:
            known = ", ".join(probe.name for probe in service.probes) or "none"
            yield Refusal(
                f"gate {gate.name} asks for a probe {gate.probe!r} that {service.name} has not", f"it has {known}"
            )
    if not any(isinstance(gate, HealthGate) for gate in rules.gates):
        yield Refusal(f"no gate of {service.name} is a health contract", "add one: kind health, probe NAME")


def _steps(
    rules: Rules,
    moving: Sequence[tuple[WaveRule, list[Place]]],
    old: Release,
    new: Release,
    found: list[Refusal],
) -> list[Wave]:
    drawn: list[Wave] = []
    number = 1
    for rule, places in moving:
        steps: list[Step] = []
        for place in places:
            try:
                reached = stages.stages(rules.strategy, rules.pace, place)
            except RefusedError as error:
                found.append(Refusal(error.message, error.cure))
                continue
            steps.append(Step(number=number, place=place.address, verb="open"))
            steps += stages.steps(place, reached, old=old.version, new=new.version, first_number=number + 1)
            number = steps[-1].number + 1
        drawn.append(Wave(name=rule.name, sites=tuple(dict.fromkeys(each.site for each in places)), steps=tuple(steps)))
    return drawn


def least_time(soak_seconds: float, steps: Sequence[Step]) -> timedelta:
    """How long steps take at the least: what they are watched for."""
    return timedelta(seconds=soak_seconds * sum(step.verb == "watch" for step in steps))


def _window_too_short(rules: Rules, drawn: Sequence[Wave]) -> Iterator[Refusal]:
    for wave in drawn:
        for address in dict.fromkeys(step.place for step in wave.steps):
            needed = least_time(rules.pace.soak_seconds, [step for step in wave.steps if step.place == address])
            if rules.windows and not windows.long_enough(rules.windows, needed):
                why = f"{address} takes {needed} at the least, and no window lasts so long"
                yield Refusal(why, "write a longer window, or a shorter soak_seconds")
            if needed >= (longest := timedelta(minutes=rules.pace.mixed_minutes)):
                why = f"{address} takes {needed} at the least, and may have two versions for {longest}"
                yield Refusal(why, "write a larger mixed_minutes, or a shorter soak_seconds")
