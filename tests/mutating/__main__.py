"""Mutates the hosts of a facility that stands, as its tests do: ``python -m tests.mutating --seed 1 --number 17``.

Takes the facility in PACHON_FACILITY (default: the shipped lab). Whatever it changes it takes back.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from pachon import definition, places
from tests.mutating.carrying import Field, round_of
from tests.mutating.drawing import drawn
from tests.mutating.judging import ANSIBLE, BOTH, table


def main() -> int:
    """Exit status: 0 if the probe was honest."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutating", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, action="append", help="this mutation of the seed, alone (repeatable)")
    parser.add_argument("--most", type=int, default=10_000, metavar="N", help="no more than N mutations")
    parser.add_argument("--list", action="store_true", help="name the mutations and change nothing")
    given = parser.parse_args()
    facility = definition.load(definition.find(os.environ.get("PACHON_FACILITY") or "lab"))
    made = Field(facility, places.state(facility.name))
    mutations = drawn(made.expected, seed=given.seed)
    mutations = [each for each in mutations if each.number in given.number] if given.number else mutations[: given.most]
    if given.list:
        sys.stdout.writelines(f"{each}\n" for each in mutations)
        return 0
    with tempfile.TemporaryDirectory() as work:
        came = asyncio.run(round_of(made, mutations, work=Path(work) / "check"))
    for verdict in came.verdicts:
        if verdict.seen_by != BOTH:
            sys.stdout.write(f"{verdict.mutation}: {verdict.seen_by}: {verdict.why or 'NOBODY CAN SAY WHY'}\n")
    alone = {(each.mutation.host, each.mutation.task) for each in came.verdicts if each.seen_by == ANSIBLE}
    told = [each for each in came.found if len(mutations) == 1 or (each.host, each.task) in alone]
    sys.stdout.writelines(f"found by Ansible: {each}\n" for each in told)
    sys.stdout.writelines(f"could not be: {number}: {why}\n" for number, why in came.could_not_be.items())
    sys.stdout.writelines(f"MISSED: {each}\n" for each in came.missed)
    sys.stdout.write("\n".join(table(came.verdicts)) + "\n")
    return 0 if all(each.is_honest for each in came.verdicts) and not came.missed else 1


if __name__ == "__main__":
    sys.exit(main())
