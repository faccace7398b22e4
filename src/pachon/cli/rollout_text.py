"""Rollouts as text: plans with their windows, how far they are, and on what evidence."""

from datetime import datetime
from typing import TYPE_CHECKING

from pachon.cli.answer import Part, Table, facts

if TYPE_CHECKING:
    from pachon.model.rollout_record import RolloutRow
    from pachon.rollout.plan import RolloutPlan
    from pachon.rollout.watching import RolloutStatus


def next_windows_of(made: "RolloutPlan", now: datetime) -> list[dict[str, str]]:
    """Of each place the window in which it could begin, were it its turn now, as the clocks of all sites show it."""
    from pachon.rollout import windows
    from pachon.rollout.planning import least_time

    found: list[dict[str, str]] = []
    for place in made.places if made.windows else ():
        own = [step for step in made.steps if step.place == place.address]
        needed = least_time(made.pace.soak_seconds, own)
        if (one := windows.opening(made.windows, made.zones[place.site], now, needed=needed)) is not None:
            opens, closes = (windows.clocks(moment, made.zones) for moment in (one.opens, one.closes))
            found.append({"place": place.address, "opens": opens, "closes": closes})
    return found


def drawn(made: "RolloutPlan", next_windows: list[dict[str, str]]) -> list[Part]:
    """A plan, step by step."""
    head = {
        "service": made.service,
        "from": made.old.version,
        "to": f"{made.new.version} ({made.new.digest[:19]}…)",
        "strategy": made.strategy,
        "gates": [f"{gate.name} ({gate.kind})" for gate in made.gates],
        "windows": [f"{', '.join(each.days)} {each.opens}-{each.closes} ({each.clock})" for each in made.windows],
        "Observatory": f"its signed yes first ({made.needs_word})" if made.needs_word else None,
    }
    rows = [(wave.name, step.number, step.place, step.verb, step.said) for wave in made.waves for step in wave.steps]
    steps = Table(("wave", "step", "place", "verb", "does"), rows, folds=("place", "does"))
    opens = [f"{each['place']}: opens {each['opens']}; closes {each['closes']}" for each in next_windows]
    return [facts(head), *(["", "next windows, were it a place's turn now:", *opens] if opens else []), "", steps]


def told(found: "RolloutStatus") -> list[Part]:
    """How far a rollout is, and what opened or shut which gate."""
    head = {
        "rollout": found.id,
        "service": found.service,
        "from": found.from_version,
        "to": found.version,
        "state": found.state,
        "done": f"{found.done} of {found.steps_in_all} steps",
        "by": f"{found.by}: {found.why}",
        "carried out by": found.carried_out_by,
    }
    if found.wanted_why != found.why:
        head["wanted"] = f"{found.wanted} by {found.wanted_by}: {found.wanted_why}"
    if found.waits and found.waits_since is not None:
        head["waits"] = f"since {found.waits_since:%Y-%m-%d %H:%M:%S} UTC for {found.waits}"
    where = [(each.wave, each.place, each.state, each.share_percent) for each in found.places]
    opened = [
        (f"{step.way} {step.number}", step.verb, step.outcome or "begun", evidence(step.evidence))
        for step in found.steps
        if step.evidence
    ]
    return [
        facts(head),
        "",
        Table(("wave", "place", "state", "new %"), where),
        "",
        Table(("step", "verb", "outcome", "evidence"), opened, folds=("evidence",), empty="nothing was done yet"),
    ]


def evidence(seen: "object") -> str:
    """Evidence on one line."""
    match seen:
        case dict() if "watched_seconds" in seen:
            gates = "; ".join(f"{each['gate']} {each['state']}: {each['said']}" for each in seen["gates"])
            return f"{seen['watched_seconds']:g} s, {seen['looks']} looks: {gates}"
        case dict():
            return "; ".join(f"{name} {evidence(value)}" for name, value in seen.items())
        case _:
            return str(seen)


def because(row: "RolloutRow") -> str:
    """Why it was begun, and why it does what it does, where that is another reason."""
    return row.why if row.wanted_why == row.why else f"{row.why}; {row.wanted_by}: {row.wanted_why}"
