"""The plan as a value: order, risk, protection, seal; over random small facilities it always holds together."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachon.cli.answer import write_text
from pachon.cli.plan import text_of
from pachon.errors import RefusedError, UsageError
from pachon.model.facility import Facility, Host
from pachon.model.hardware import STACKS, ResourceInputs, StackName, inputs_of
from pachon.plan.approval import refuse_unapproved
from pachon.plan.bounds import outside
from pachon.plan.document import Action, Difference, Fact, Plan, Verb, read_plan, text_of_file
from pachon.plan.folding import lines_of
from pachon.plan.graph import graph
from pachon.plan.making import Basis, DeferredRoles, Findings, Made, definition_of, plan_of
from pachon.plan.markdown import markdown
from pachon.plan.moving import moved
from tests.worlds import facility, images, without_hosts

ROLES = ("base", "firewall", "gateway")
Standing = Mapping[str, tuple[StackName, ResourceInputs]]
"""What was made, by address."""
BATCH = "base/host/base-h"


def inputs(whole: Facility, version: int = 1) -> dict[str, tuple[StackName, ResourceInputs]]:
    """What a facility's stacks declare, by address."""
    declared = inputs_of(whole, "base", images(version))
    return {each.address: (stack, each) for stack in STACKS for each in declared[stack]}


def verb_of(before: ResourceInputs | None, after: ResourceInputs | None) -> Verb:
    """What an engine would say."""
    if before is None or after is None:
        return "create" if before is None else "delete"
    if before.generation != after.generation:
        return "replace"
    return "none" if before.inputs == after.inputs else "update"


def differences(before: ResourceInputs | None, after: ResourceInputs | None) -> tuple[Difference, ...]:
    """Inputs that differ."""
    if before is None or after is None:
        return ()
    keys = sorted(key for key in after.inputs if before.inputs.get(key) != after.inputs[key])
    return tuple(Difference(key=key, before=before.inputs.get(key), after=after.inputs[key]) for key in keys)


def engine_says(made: Standing, wanted: Standing) -> list[Action]:
    """The previews of all stacks: what moves from one to another is deleted in the one and created in the other."""
    told = []
    for address in sorted(made.keys() | wanted.keys()):
        (old_stack, before), (new_stack, after) = made.get(address, ("", None)), wanted.get(address, ("", None))
        pairs = [(old_stack or new_stack, before, after)]
        if before is not None and after is not None and old_stack != new_stack:
            pairs = [(old_stack, before, None), (new_stack, None, after)]
        for stack, old, new in pairs:
            told.append(
                Action(
                    site="base",
                    layer="hardware",
                    stack=stack,
                    address=address,
                    verb=verb_of(old, new),
                    before="" if old is None else old.generation,
                    after=new.generation if new is not None else old.generation if old is not None else "",
                    differences=differences(old, new),
                    reason="as the test has it",
                )
            )
    return told


GIVEN = "0123456789abcdef"
"""What every role here is played with."""


def roles_say(
    whole: Facility, played: Mapping[str, str], new: Iterable[str]
) -> tuple[list[Action], list[DeferredRoles]]:
    """Roles of hosts that stand, and envelopes for those that do not."""
    actions, deferred = [], []
    for host in whole.sites[0].active_hosts:
        addresses = [f"base/host/{host.name}/role/{role}" for role in ROLES]
        if f"base/host/{host.name}" in new:
            given = dict.fromkeys(addresses, GIVEN)
            deferred.append(DeferredRoles(site="base", host=f"base/host/{host.name}", given=given))
            continue
        for address in addresses:
            verb: Verb = "none" if played.get(address) == str(host.groups) else "update"
            actions.append(
                Action(site="base", layer="hosts", stack="hosts", address=address, verb=verb, given=GIVEN, reason="r")
            )
    return actions, deferred


def plan(
    whole: Facility, made: Standing, *, version: int = 1, played: Mapping[str, str] | None = None, **further: Any
) -> Plan:
    """The plan from what stands to what the facility says."""
    actions = engine_says(made, inputs(whole, version))
    new = {action.address for action in actions if action.verb in ("create", "replace")}
    roles, deferred = roles_say(whole, played or {}, new) if played is not None else ([], [])
    findings = Findings(
        site="base",
        actions=(*actions, *roles),
        deferred=tuple(deferred),
        made=tuple(Made(address=address, inputs=each.inputs) for address, (_, each) in made.items()),
        **further,
    )
    return plan_of(whole, [findings], Basis(definition=definition_of(whole), code={"roles": "r"}, roles=ROLES))


def with_host(whole: Facility, name: str, **values: Any) -> Facility:
    """The facility with a host changed."""
    site = whole.sites[0]
    hosts = tuple(host.model_copy(update=values) if host.name == name else host for host in site.hosts)
    return whole.model_copy(update={"sites": (site.model_copy(update={"hosts": hosts}),)})


@st.composite
def facilities(draw: st.DrawFn) -> Facility:
    """A few hosts, switches and volumes; some of the hosts left out, some regrouped."""
    hosts = draw(st.integers(1, 4))
    whole = facility(hosts=hosts, switches=draw(st.integers(0, 2)), volumes=draw(st.integers(0, hosts)))
    bare = [host for host in whole.hosts if not _has_volume(whole, host)]
    dropped = draw(st.sets(st.sampled_from([host.name for host in bare]))) if bare else set()
    whole = without_hosts(whole, *dropped)
    for host in whole.hosts:
        if host.flavour != "switch" and draw(st.booleans()):
            whole = with_host(whole, host.name, groups=("batch", "database"))
    return whole


def _has_volume(whole: Facility, host: Host) -> bool:
    return any(pool.host == host.name for pool in whole.sites[0].storage_pools)


def assert_in_order(made: Plan) -> None:
    """No action before its needs; each once."""
    wave_of: dict[str, list[int]] = {}
    for wave in made.waves:
        for action in wave.actions:
            wave_of.setdefault(action.address, []).append(wave.number)
    for wave in made.waves:
        for action in wave.actions:
            for need in action.needs:
                assert min(wave_of[need]) < wave.number, f"{action.address} comes before {need}"
    assert len(made.actions) == sum(number for verb, number in made.counts.items() if verb != "none")


@settings(max_examples=25, deadline=None)
@given(before=facilities(), after=facilities(), versions=st.tuples(st.integers(1, 2), st.integers(1, 2)))
def test_no_action_comes_before_its_needs_and_the_same_values_give_the_same_bytes(
    before: Facility, after: Facility, versions: tuple[int, int]
) -> None:
    made = inputs(before, versions[0])
    first = plan(after, made, version=versions[1], played={})
    assert_in_order(first)
    assert text_of_file(first) == text_of_file(
        plan(after, dict(reversed(made.items())), version=versions[1], played={})
    )
    assert read_plan(text_of_file(first), "it") == first
    assert graph(first).startswith("<svg") and markdown(first)
    assert sum(len(line.addresses) for line in lines_of(first)) == len(first.actions)


@settings(max_examples=15, deadline=None)
@given(whole=facilities(), version=st.integers(1, 2))
def test_the_plan_of_what_was_applied_is_empty(whole: Facility, version: int) -> None:
    played = {f"base/host/{host.name}/role/{role}": str(host.groups) for host in whole.hosts for role in ROLES}
    again = plan(whole, inputs(whole, version), version=version, played=played)
    assert not again.pending
    assert set(again.counts) <= {"none"}


@settings(max_examples=15, deadline=None)
@given(before=facilities(), after=facilities(), data=st.data())
def test_what_is_left_of_a_plan_that_was_carried_out_in_part_stays_inside_it(
    before: Facility, after: Facility, data: st.DataObject
) -> None:
    made, wanted = inputs(before), inputs(after)
    whole = plan(after, made, played={})
    there = sorted(made.keys() | wanted.keys())
    done = data.draw(st.sets(st.sampled_from(there))) if there else set()
    part = {address: each for address, each in made.items() if address not in done}
    part |= {address: wanted[address] for address in done if address in wanted}
    assert outside(plan(after, part, played={}), whole) == []


def test_a_switch_comes_before_what_hangs_on_it_and_a_host_before_its_volume() -> None:
    made = plan(facility(hosts=2, switches=1, volumes=1), {})
    order = {action.address: wave.number for wave in made.waves for action in wave.actions}
    assert order["base/machine/S0003"] < order["base/host/base-sw003"] < order["base/network/batch"]
    assert order["base/machine/S0001"] < order["base/host/base-h001"] < order["base/volume/scratch1"]
    assert made.counts == {"create": len(made.actions)}


def test_what_moves_to_another_stack_is_gone_there_before_it_is_made_here() -> None:
    whole = facility(hosts=2, switches=1)
    moving = with_host(whole, "base-h001", flavour="switch", groups=("switch",))
    made = plan(moving, inputs(whole))
    (gone,) = [
        wave.number for wave in made.waves for a in wave.actions if (a.address, a.verb) == (f"{BATCH}001", "delete")
    ]
    (new,) = [
        wave.number for wave in made.waves for a in wave.actions if (a.address, a.verb) == (f"{BATCH}001", "create")
    ]
    assert gone < new


def test_a_machine_s_record_goes_after_the_host_that_moves_off_it() -> None:
    whole = facility(hosts=3)
    made = inputs(without_hosts(whole, "base-h003"))
    moving = with_host(without_hosts(whole, "base-h003"), "base-h002", machine="S0003")
    order = {action.address: wave.number for wave in plan(moving, made).waves for action in wave.actions}
    assert order["base/machine/S0003"] < order[f"{BATCH}002"] < order["base/machine/S0002"]


def test_roles_of_hosts_that_are_yet_to_be_made_are_deferred_with_their_bounds() -> None:
    made = plan(facility(hosts=1, volumes=1), {}, played={})
    (envelope,) = made.envelopes
    assert envelope.waits_for == (f"{BATCH}001", "base/volume/scratch1")
    assert envelope.addresses == tuple(f"{BATCH}001/role/{role}" for role in ROLES)
    assert envelope.risk == "medium"


def test_unknown_is_counted_and_never_shown_as_unchanged() -> None:
    actions = [
        Action(site="base", layer="hardware", stack="compute", address=f"{BATCH}001", verb="unknown", reason="?")
    ]
    made = plan_of(facility(), [Findings(site="base", actions=tuple(actions))], Basis(definition={}, code={}))
    assert made.counts == {"unknown": 1}
    assert made.pending
    assert made.actions[0].risk == "high"


def test_a_plan_that_was_changed_after_it_was_sealed_is_refused_and_another_file_is_none() -> None:
    text = text_of_file(plan(facility(), {}))
    with pytest.raises(RefusedError, match="changed since it was sealed"):
        read_plan(text.replace('"verb": "create"', '"verb": "delete"', 1), "plan.json")
    with pytest.raises(UsageError, match="no plan"):
        read_plan("{}", "plan.json")


def test_each_thing_that_has_moved_is_named() -> None:
    whole = facility()
    facts = (
        Fact(address=f"{BATCH}001", kind="seen", value="as wanted"),
        Fact(address="base", kind="journal", value="1"),
    )
    made = plan(whole, {}, facts=facts, parent="run-1")
    basis = Basis(definition=made.definition, code=made.code)
    assert moved(made, basis, {"base": "run-1"}, facts) == []
    other = with_host(whole, "base-h001", groups=("database",))
    told = moved(made, Basis(definition=definition_of(other), code={"roles": "s"}), {"base": "run-2"}, [facts[1]])
    assert told == [
        "the definition (site base)",
        "the program (roles)",
        "the last run at base (then run-1, now run-2)",
        f"{BATCH}001: what is seen there (then as wanted, now nothing)",
    ]


def test_a_role_with_another_text_or_other_arguments_is_not_what_was_planned() -> None:
    whole = facility()
    role, deferred = f"{BATCH}001/role/{ROLES[0]}", plan(whole, {}, played={})
    standing = plan(whole, inputs(whole), played={})
    assert role in {address for envelope in deferred.envelopes for address in envelope.addresses}
    for made in (standing, deferred):
        basis = Basis(definition=made.definition, code=made.code)
        assert moved(made, basis, {"base": ""}, made.facts, given={role: GIVEN, "base/host/x/role/y": "new"}) == []
        told = moved(made, basis, {"base": ""}, made.facts, given={role: "fedcba9876543210"})
        assert told == [f"{role}: its text or its arguments"]
        other = [wave.model_copy(update={"actions": tuple(map(_given_else, wave.actions))}) for wave in standing.waves]
        child = standing.model_copy(update={"waves": tuple(other)})
        assert outside(standing, made) == []
        assert f"{role} (update)" in outside(child, made)


def test_what_a_role_left_goes_before_roles_are_played_and_needs_no_approval_by_name() -> None:
    host = f"{BATCH}001"
    verbs: tuple[tuple[str, Verb], ...] = (("base", "update"), ("gateway", "delete"), ("base", "delete"))
    told = [
        Action(site="base", layer="hosts", stack="hosts", address=f"{host}/role/{role}", verb=verb, reason="as it is")
        for role, verb in verbs
    ]
    whole, other = facility(), Made(address=f"{BATCH}002", inputs={"groups": ["gateway"]})
    basis = Basis(definition=definition_of(whole), code={}, roles=ROLES)
    made = plan_of(whole, [Findings(site="base", actions=tuple(told), made=(other,))], basis)
    order = [(action.verb, action.address.rpartition("/")[2]) for wave in made.waves for action in wave.actions]
    assert order == [("delete", "base"), ("delete", "gateway"), ("update", "base")]
    assert (made.destroys, made.protections) == ({}, ())
    refuse_unapproved(made, (), command="pachon apply")
    risks = {action.address.rpartition("/")[2]: action.why_risk for action in made.actions if action.verb == "delete"}
    assert risks["base"] == "what it left there stops and is put aside"


def _given_else(action: Action) -> Action:
    return action.model_copy(update={"given": "fedcba9876543210"})


def test_a_secret_that_was_made_since_moves_nothing_and_one_that_was_changed_does() -> None:
    kept = Fact(address="base/secret/slurm", kind="secret", value="1")
    made = plan(facility(), {}, facts=(kept,))
    basis = Basis(definition=made.definition, code=made.code)
    new = Fact(address="base/secret/munge", kind="secret", value="2")
    assert moved(made, basis, {"base": ""}, [kept, new]) == []
    told = moved(made, basis, {"base": ""}, [kept.model_copy(update={"value": "3"})])
    assert told == ["base/secret/slurm: the secret"]


def test_a_plan_made_without_a_look_relies_on_none() -> None:
    made = plan(facility(), {})
    now = [Fact(address=f"{BATCH}001", kind="seen", value="is off")]
    assert moved(made, Basis(definition=made.definition, code=made.code), {"base": ""}, now) == []


def test_a_gateway_s_firewall_is_a_high_risk_and_a_worker_s_a_medium_one() -> None:
    whole = with_host(facility(), "base-h001", groups=("gateway",))
    made = plan(whole, inputs(whole), played={})
    risks = {action.address: action.risk for action in made.actions}
    assert risks[f"{BATCH}001/role/firewall"] == "high"
    assert risks[f"{BATCH}002/role/firewall"] == "medium"
    assert risks[f"{BATCH}002/role/base"] == "low"


def test_equal_actions_of_a_wave_are_one_line_on_the_screen_and_in_a_merge_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = plan(facility(hosts=16), {}, played={})
    write_text(text_of(made))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 24
    assert "16 x create host" in shown
    assert "deferred at base: 48 roles on 16 hosts (base-h001 … base-h016)" in shown
    assert "| 2 | base | 16 x create host | base-h001 … base-h016 |" in markdown(made)
