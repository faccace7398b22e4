"""Hosts are mutated at random: the probe must see all that a full check of Ansible sees.

200 mutations (1,000 by ``make faults``), in batches of at most one for each task of three hosts with most of the roles.
Whatever only one of the two sees is run again singly; of what has a known reason ``make faults`` runs one for each
reason. The table is in build/probe-honesty.txt. PACHON_MUTATION=SEED:NUMBER has one of them alone.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pachon.definition import load
from pachon.places import CHECKOUT
from tests.e2e import making
from tests.e2e.rig import rig
from tests.mutating.carrying import Field, Round, round_of
from tests.mutating.drawing import Mutation, drawn
from tests.mutating.judging import BOTH, Verdict, table

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(5400)]

NAME = "t-mutate"
NETWORK = "198.19.220"
GROUPS = {1: "switch", 2: "storage, admin, bastion", 3: "dns, time_server, log_host, gateway"}
PEOPLE = "people:\n  - {name: ana, title: Ana of the test, uid: 10001}\n"
ALL = os.environ.get("PACHON_FAULTS") == "all"
NUMBER = 1000 if ALL else 200
FIRST_SEED = 1
REPORT = CHECKOUT / "build" / "probe-honesty.txt"
ONE_ALONE = "one of them alone: PACHON_MUTATION=SEED:NUMBER make faults ARGS=tests/faults/test_probe_honesty.py"


def define(folder: Path) -> None:
    """Three hosts with most of the roles, and a person."""
    making.small(folder, name=NAME, network=NETWORK, containers=3, furnished=True)
    path = folder / "sites" / "here" / "site.yaml"
    lines = path.read_text().splitlines(keepends=True)
    for number, groups in GROUPS.items():
        own = f"name: {making.host(NAME, number)}, machine"
        lines = [line.replace("groups: []", f"groups: [{groups}]") if own in line else line for line in lines]
    path.write_text("".join(lines))
    with (folder / "facility.yaml").open("a") as file:
        file.write(PEOPLE)


def wanted(standing: Field) -> list[list[Mutation]]:
    """Batches of mutations, at most one for each task in each."""
    if alone := os.environ.get("PACHON_MUTATION"):
        draw, _, number = alone.partition(":")
        return [[each for each in drawn(standing.expected, seed=int(draw)) if number in ("", str(each.number))]]
    left, seed, batches = NUMBER, FIRST_SEED, []
    while left > 0:
        batches.append(drawn(standing.expected, seed=seed)[:left])
        assert batches[-1], "nothing can be mutated"
        left, seed = left - len(batches[-1]), seed + 1
    return batches


def again(verdicts: Sequence[Verdict]) -> list[list[Mutation]]:
    """Those that only one of the two saw, one on each host at a time; of a known reason one."""
    reasons: set[str] = set()
    rounds: list[dict[str, Mutation]] = []
    for each in verdicts:
        if each.seen_by == BOTH or (each.is_honest and (each.why in reasons or not ALL)):
            continue
        reasons.add(each.why)
        host = each.mutation.host
        free = next((one for one in rounds if host not in one), None)
        if free is None:
            rounds.append(free := {})
        free[host] = each.mutation
    return [list(each.values()) for each in rounds]


def run(standing: Field, mutations: Sequence[Mutation], folder: Path) -> Round:
    """A round."""
    return asyncio.run(round_of(standing, mutations, work=folder / "check"))


@pytest.fixture(scope="module")
def standing() -> Iterator[Field]:
    with rig(NAME) as made:
        define(made.definition)
        assert made.ask("up")["failures"] == []
        yield Field(load(made.definition), made.state)


def test_the_probe_misses_nothing_that_a_check_of_ansible_sees(standing: Field, tmp_path: Path) -> None:
    batches = wanted(standing)
    told: list[Verdict] = []
    lines: list[str] = []
    wrong: list[str] = []
    for mutations in batches:
        came = run(standing, mutations, tmp_path)
        told += came.verdicts
        lines += [f"could not be: {number}: {why}" for number, why in came.could_not_be.items()]
        wrong += [f"missed by the probe: {each}" for each in came.missed]
    for some in again(told):
        for verdict in run(standing, some, tmp_path).verdicts:
            line = f"singly: {verdict.mutation}: {verdict.seen_by}: {verdict.why}"
            lines.append(line)
            wrong += [] if verdict.is_honest else [line]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join([*table(told), *lines]) + "\n")
    assert wrong == [], "\n".join([*wrong, ONE_ALONE, REPORT.read_text()])
    assert len(told) >= 0.95 * sum(len(each) for each in batches), REPORT.read_text()
