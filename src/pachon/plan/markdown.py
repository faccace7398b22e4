"""A plan as Markdown, for the discussion of a merge request."""

from collections.abc import Iterable, Sequence

from pachon.plan.document import Difference, Plan
from pachon.plan.folding import deferrals_of, header, lines_of

LISTED = 400
"""Longest full list of actions; the document has all."""


def markdown(plan: Plan) -> str:
    """The plan: what is to be done in which order, what is risky, what needs an approval."""
    lines = [f"## {header(plan)[0].upper()}{header(plan)[1:]}", "", f"Sealed `{plan.seal[:12]}`.", ""]
    if not plan.pending:
        lines += ["Nothing to change.", ""]
    if plan.waves:
        lines += _table(
            ("wave", "site", "what", "where", "risk", "because"),
            (
                (line.wave, line.site, line.what, line.where, _risk(line.risk, line.why_risk), line.reason)
                for line in lines_of(plan)
            ),
        )
    for each in deferrals_of(plan):
        lines.append(f"- {each.told}")
    lines += _approvals(plan)
    if plan.notes:
        lines += ["", "### Notes", *(f"- {note}" for note in plan.notes)]
    if plan.actions:
        listed = [(wave.number, action) for wave in plan.waves for action in wave.actions]
        lines += ["", "<details><summary>Every action</summary>", ""]
        lines += _table(
            ("wave", "verb", "address", "differences", "needs"),
            (
                (number, action.verb, f"`{action.address}`", _keys(action.differences), len(action.needs))
                for number, action in listed[:LISTED]
            ),
        )
        lines += [f"… and {len(plan.actions) - LISTED} more"] if len(plan.actions) > LISTED else []
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _approvals(plan: Plan) -> list[str]:
    if not plan.destroys and not plan.protections:
        return []
    lines = [
        "",
        "### Needs an approval by name",
        *(f"- `{address}` ({verb})" for address, verb in plan.destroys.items()),
    ]
    return lines + [f"- `{each.address}`: loses {each.loses}: {each.why}" for each in plan.protections]


def _risk(risk: str, why: str) -> str:
    return f"**{risk}**: {why}" if risk in ("high", "destroys") else risk


def _keys(differences: Iterable[Difference]) -> str:
    return ", ".join(each.key for each in differences)


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return [*lines, *(f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows), ""]
