"""Reads pytest's junit file after a run: names the tests that were not run, with the reason, and counts the rest."""

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Results:
    """How a test run went."""

    passed: int
    failed: int
    """Errors in what surrounds a test count as failed."""
    not_run: tuple[tuple[str, str], ...]
    """(test, reason), in the order of the run."""


def read(path: Path) -> Results:
    """The results in a junit file."""
    passed = failed = 0
    not_run: list[tuple[str, str]] = []
    for case in ElementTree.parse(path).iter("testcase"):
        skipped = case.find("skipped")
        if skipped is not None:
            name = f"{case.get('classname', '')}::{case.get('name', '')}"
            not_run.append((name, (skipped.get("message") or "no reason given").strip()))
        elif case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        else:
            passed += 1
    return Results(passed=passed, failed=failed, not_run=tuple(not_run))


def report(results: Results) -> str:
    """The results for people; the last line counts."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for test, reason in results.not_run:
        by_reason[reason].append(test)
    lines = []
    for reason, tests in sorted(by_reason.items()):
        lines.append(f"not run ({len(tests)}): {reason}")
        lines.extend(f"  {test}" for test in tests)
    lines.append(f"{results.passed} passed, {results.failed} failed, {len(results.not_run)} skipped")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """Write the report of the junit file given."""
    path = Path(argv[0])
    if not path.exists():
        sys.stdout.write(f"there is no {path}: the tests did not come to an end\n")
        return 1
    sys.stdout.write(report(read(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
