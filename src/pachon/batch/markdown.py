"""A campaign's report as Markdown, for people. Pure; programs read the JSON beside it."""

from collections.abc import Iterable, Sequence

from pachon.batch.report import STATISTICS, CampaignReport, IncidentReport, Statistics


def markdown(report: CampaignReport) -> str:
    """The whole report."""
    took = "" if report.seconds is None else f" in {report.seconds:g} s"
    exposures = "; ".join(f"{kind} {ranges(numbers)}" for kind, numbers in report.exposures.items())
    lines = [
        f"# Campaign {report.name}: {report.state}",
        "",
        f"{report.title}. Pipeline {report.pipeline} (software {report.pipeline_sha256[:12]}) over detectors "
        f"{ranges(report.detectors)}, exposures {exposures}, at priority {report.priority}, on facility "
        f"{report.facility}. Begun {report.started_at:%Y-%m-%d %H:%M:%S} UTC{took}.",
        "",
        "## Combined frames",
        *_table(("kind", "detector", "site", *STATISTICS), (_row(each) for each in report.statistics)),
        "",
        *(f"![{path}]({path.rpartition('/')[2]})" for path in report.pictures),
        "",
        "## Sites",
        *_table(
            ("site", "condition", "since (UTC)", "detectors", "done", "of", "failed", "blocked", "workers", "reason"),
            (
                (
                    each.site,
                    each.condition,
                    "" if each.since is None else f"{each.since:%H:%M:%S}",
                    ranges(each.detectors),
                    each.done,
                    each.quanta,
                    each.failed,
                    each.blocked,
                    ", ".join(f"{host} {number}" for host, number in each.hosts.items()),
                    each.reason,
                )
                for each in report.sites
            ),
        ),
        "",
        "## Tasks",
        *_table(
            ("task", "done", "of", "seconds on workers", "slowest"),
            ((each.task, each.done, each.quanta, each.seconds, each.slowest) for each in report.tasks),
        ),
        "",
        "## What went otherwise",
        *(_told(each) for each in report.incidents),
        *([] if report.incidents else ["Nothing."]),
        "",
        "## Provenance",
        *_table(
            ("quantum", "key", "state", "host", "job", "attempts", "image", "sha256 of the product"),
            (
                (
                    each.quantum,
                    each.key,
                    each.state,
                    each.host,
                    each.job,
                    each.attempts,
                    each.image[:19],
                    ", ".join(file.sha256[:16] for file in each.products) or each.message,
                )
                for each in report.provenance
            ),
        ),
        "",
        "Software: "
        + "; ".join(sorted({", ".join(f"{k} {v}" for k, v in sorted(e.software.items())) for e in report.provenance})),
    ]
    return "\n".join(lines) + "\n"


def _told(incident: IncidentReport) -> str:
    host = f" ({incident.host})" if incident.host else ""
    quanta = f": {', '.join(incident.quanta)}" if incident.quanta else ""
    done = f"; done by {', '.join(incident.done_by)}" if incident.done_by else ""
    at = f"{incident.at:%Y-%m-%d %H:%M:%S} UTC"
    return f"- {at}, {incident.site}: **{incident.kind}**{host}: {incident.message}{quanta}{done}"


def _row(each: Statistics) -> tuple[object, ...]:
    return (each.kind, each.detector, each.site, *(each.values.get(name, "") for name in STATISTICS))


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return lines + [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]


def ranges(numbers: Sequence[int]) -> str:
    """Numbers as people write them: ``0-3, 7``."""
    parts: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1] = (parts[-1][0], number)
        else:
            parts.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
