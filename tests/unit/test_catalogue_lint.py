"""What a catalogue may not say, what deployable services must say, and that it takes more services than there are."""

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pachon.checks import check
from pachon.checks.services import RUNBOOK, gaps
from pachon.cli.main import NOUNS, load_command
from pachon.definition import catalogue, examine, find, load
from pachon.model.service import Service, ServiceState, Tier
from pachon.places import CHECKOUT
from pachon.starting import order

WORLD = CHECKOUT / "tests" / "cases" / "definition" / "world"
MANY_SERVICES, MANY_ENCLAVES = 100, 24


@pytest.fixture(scope="module")
def shipped() -> catalogue.Read:
    return catalogue.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of three services to change."""
    return Path(shutil.copytree(WORLD / "catalogue", tmp_path / "catalogue"))


def said(folder: Path) -> list[str]:
    return [str(each).removeprefix(f"{folder}/") for each in catalogue.read(folder).complaints]


def add(folder: Path, service: str, text: str, *, state: str = "") -> None:
    path = folder / service / "service.yaml"
    before = path.read_text()
    if state:
        before = before.replace("state: declared", f"state: {state}")
    path.write_text(before + text)


def test_no_deployable_service_of_the_first_tiers_has_a_gap(shipped: catalogue.Read) -> None:
    assert [*map(str, shipped.complaints), *map(str, catalogue.lint(shipped).errors)] == []
    deployable = {name for name, each in shipped.services.items() if each.state is ServiceState.DEPLOYABLE}
    assert deployable >= {"batch-computing", "campaign-management", "network-security", "provisioning"}


def test_every_entry_says_what_it_can_say_from_the_first_day(shipped: catalogue.Read) -> None:
    for name, service in shipped.services.items():
        assert service.hours and service.recovery_time and service.recovery_point and service.change, name
        assert len(service.owners.model_dump()) == 6
        assert all(need.contract for need in service.needs), name


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("state", list(ServiceState))
def test_a_gap_is_an_error_where_the_service_is_deployable_and_of_the_first_two_tiers(
    tier: Tier, state: ServiceState, shipped: catalogue.Read
) -> None:
    whole = shipped.services["batch-computing"].model_copy(update={"tier": tier, "state": state})
    assert gaps(whole) == []
    empty: dict[str, Any] = {
        "hours": None, "probes": (), "objectives": (), "recovery_time": None, "recovery_point": None, "backup": None,
        "cold_start": (), "cold_stop": (), "change": None, "deployment": None, "proof": (), "runbook": RUNBOOK[:-1],
    }  # fmt: skip
    for key, value in empty.items():
        (found,) = gaps(whole.model_copy(update={key: value}))
        must = state is ServiceState.DEPLOYABLE and tier is not Tier.OPERATIONAL
        assert (found.key, found.severity) == (key, "error" if must else "warning")


def test_a_gap_is_told_with_its_file_and_line(folder: Path) -> None:
    backup = "backup:\n  how: Copied nightly.\n  basis: ours\nneeds:\n  - {service: provisioning, later: true}\n"
    add(folder, "authentication", backup, state="deployable")
    found = catalogue.lint(catalogue.read(folder))
    told = [str(each).removeprefix(f"{folder}/") for each in found.errors]
    path = folder / "authentication" / "service.yaml"
    line = 1 + path.read_text().splitlines().index("backup:")
    assert (
        f"authentication/service.yaml:{line}: its backup is not verified; add verified: how it is known that it works"
        in told
    )
    assert any(
        each.startswith(f"authentication/service.yaml:{line + 4}: the need of provisioning has no") for each in told
    )
    assert any(each.startswith("authentication/service.yaml:1: there is no runbook; write runbook.md") for each in told)
    assert {each.path.split("/")[-2] for each in found.gaps} == {"batch-computing", "provisioning"}


def test_a_circle_of_needs_is_a_complaint_of_check(folder: Path) -> None:
    add(folder, "provisioning", "needs:\n  - service: batch-computing\n")
    add(folder, "authentication", "needs:\n  - service: provisioning\n")
    told = said(folder)
    assert len(told) == 1
    assert re.match(
        r"authentication/service.yaml:\d+: services need each other in a circle, so that none can start", told[0]
    )
    assert "authentication -> provisioning -> batch-computing -> authentication" in told[0]
    small = folder.parent / "facilities" / "small"
    shutil.copytree(WORLD / "facilities" / "small", small)
    assert [each.wrong for each in examine(small).complaints] == [told[0].split(": ", 1)[1].rsplit("; ", 1)[0]]


TCP = "probes:\n  - {name: answers, kind: tcp, endpoint: https}\n"


ANSWERS = "{service: authentication, contract: answers}"
ANSWER = "{service: authentication, contract: answer}"
LATER = "{service: authentication, contract: answers, later: true}"


@pytest.mark.parametrize(
    ("authentication", "state", "need", "complaint"),
    [
        ("", "declared", "{service: authentication}", "needs authentication, which is only declared: nothing can be"),
        (
            TCP,
            "deployable",
            "{service: authentication}",
            "the need cannot be enforced; add contract: one of its probes",
        ),
        (TCP, "deployable", ANSWER, "has no probe 'answer'; did you mean 'answers'?"),
        (TCP, "deployable", LATER, "need not wait for later; leave 'later' out"),
        (TCP, "deployable", ANSWERS, ""),
        ("", "declared", "{service: authentication, later: true}", ""),
        (TCP.replace("https", "http"), "deployable", ANSWERS, "it has no endpoint 'http'; did you mean 'https'?"),
    ],
)
def test_a_need_that_no_start_can_wait_for_is_a_complaint(
    authentication: str, state: str, need: str, complaint: str, folder: Path
) -> None:
    add(folder, "authentication", authentication, state=state)
    text = (folder / "batch-computing" / "service.yaml").read_text()
    text = text.replace("  - service: authentication\n", f"  - {need}\n")
    (folder / "batch-computing" / "service.yaml").write_text(text.replace("state: declared", "state: deployable"))
    told = said(folder)
    assert len(told) == bool(complaint), told
    assert all(complaint in each for each in told), told


def test_a_contract_that_looks_at_hosts_needs_hosts_where_its_service_is_placed(shipped: catalogue.Read) -> None:
    lab = load(find("lab"))
    assert check(lab, shipped.services) == []
    nowhere = lab.model_copy(
        update={
            "placements": tuple(
                each.model_copy(update={"group": ""}) if each.service == "network-security" else each
                for each in lab.placements
            )
        }
    )
    assert check(nowhere, shipped.services) == []  # tests of a role find its hosts by themselves
    batch = shipped.services["batch-computing"]
    needs = tuple(
        each.model_copy(update={"service": "central-logging", "contract": "journal"}) for each in batch.needs[:1]
    )
    logging = shipped.services["central-logging"].model_copy(update={"state": ServiceState.DEPLOYABLE})
    services = {**shipped.services, "batch-computing": batch.model_copy(update={"needs": needs}), logging.name: logging}
    unplaced = lab.model_copy(
        update={
            "placements": tuple(
                each.model_copy(update={"group": ""}) if each.service == "central-logging" else each
                for each in lab.placements
            )
        }
    )
    assert [note.message.split(",")[0] for note in check(unplaced, services) if "enforced" in note.message] == [
        "batch-computing waits for journal of central-logging at base",
        "batch-computing waits for journal of central-logging at archive",
    ]


WRONG = {
    "probes: [{name: a, kind: tcp}]": "the probe a is of kind tcp and has no endpoint; add endpoint",
    "probes: [{name: a, kind: role, role: dns, unit: a.service}]": "a probe of kind role has no unit; take unit out",
    "probes: [{name: a, kind: command, group: a, command: [ls]}]": "the command ls has no absolute path; write",
    "probes: [{name: a, kind: ping}]": "kind is 'ping'; write 'tcp', 'http', 'unit'",
    "objectives: [{of: it, basis: ours}]": "an objective has one figure and this one has no figure; write one of",
    "objectives: [{of: it, basis: ours, up_hours: 24}]": "up_hours and in_hours go together; write both",
    "objectives: [{of: it, basis: a book, outage_hours: 24}]": "basis is 'a book'; write a document or requirement",
    "objectives: [{of: it, basis: ours, availability_percent: true}]": "availability_percent is true, which is no",
    "objectives: [{of: it, basis: ours, availability_percent: 0}]": "availability_percent is 0, which is too small",
    "needs: [authentication]": "needs is 'authentication', which is no mapping; write 'key: value' lines",
    "deployment: {roles: [admn]}": "there is no role 'admn' in playbooks/roles; did you mean 'admin'?",
    "deployment: {roles: []}": "a deployment is by roles, in kubernetes, or both; write either",
    "deployment: {kubernetes: {form: helm, path: chart}}": "there is no Chart.yaml in chart; put the helm of the",
    "deployment: {kubernetes: {form: jsonnet, path: x}}": "form is 'jsonnet'; write 'manifests', 'kustomize' or 'helm'",
}


@pytest.mark.parametrize(("text", "complaint"), WRONG.items())
def test_what_an_entry_may_not_say_is_told_with_what_would_be_right(text: str, complaint: str, folder: Path) -> None:
    add(folder, "provisioning", f"{text}\n")
    last = len((folder / "provisioning" / "service.yaml").read_text().splitlines())
    (told,) = said(folder)
    assert told.startswith(f"provisioning/service.yaml:{last}: {complaint}")


@pytest.mark.parametrize(
    ("deployment", "files", "kind"),
    [
        ("{roles: [admin]}", (), "role"),
        ("{kubernetes: {form: manifests, path: manifests}}", ("manifests/web.yaml",), "kubernetes"),
        ("{kubernetes: {form: kustomize, path: k}}", ("k/kustomization.yaml",), "kubernetes"),
        ("{roles: [admin], kubernetes: {form: helm, path: chart}}", ("chart/Chart.yaml",), "role+kubernetes"),
    ],
)
def test_a_service_is_deployed_by_roles_in_kubernetes_or_both(
    deployment: str, files: tuple[str, ...], kind: str, folder: Path
) -> None:
    for name in files:
        path = folder / "provisioning" / name
        path.parent.mkdir()
        path.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    add(folder, "provisioning", f"deployment: {deployment}\n")
    assert said(folder) == []
    assert catalogue.load(folder)["provisioning"].kind == kind


def test_what_is_wrong_with_manifests_is_told_with_their_own_path_and_line(folder: Path) -> None:
    path = folder / "provisioning" / "manifests" / "web.yaml"
    path.parent.mkdir()
    path.write_text("apiVersion: v1\nkind: ConfigMop\nmetadata: {name: a}\n")
    add(folder, "provisioning", "deployment: {kubernetes: {form: manifests, path: manifests}}\n")
    (told,) = said(folder)
    assert told.startswith("provisioning/manifests/web.yaml:2: there is no kind 'ConfigMop'")


def many(folder: Path) -> Path:
    """A facility of 24 enclaves at two sites with 100 services, each of which needs up to three of those before it."""
    small = Path(shutil.copytree(WORLD, folder / "world")) / "facilities" / "small"
    entry = yaml.safe_load((WORLD / "catalogue" / "provisioning" / "service.yaml").read_text())
    enclaves = [f"enclave-{number:02d}" for number in range(MANY_ENCLAVES)]
    placements: list[dict[str, Any]] = []
    for number in range(MANY_SERVICES):
        name = f"service-{number:03d}"
        needs = [{"service": f"service-{each:03d}", "contract": "main"} for each in range(max(0, number - 3), number)]
        probes = [{"name": "main", "kind": "tcp", "endpoint": "main"}]
        more = {"endpoints": [{"name": "main", "port": f"tcp/{10000 + number}"}], "probes": probes}
        path = small.parents[1] / "catalogue" / name
        path.mkdir()
        about = {**entry, "title": name, "numbers": [1000 + number], "needs": needs, "enclaves": enclaves, **more}
        (path / "service.yaml").write_text(yaml.safe_dump(about))
        placements += [{"service": name, "site": "one", "enclave": enclaves[number % MANY_ENCLAVES]}]
    facility = yaml.safe_load((small / "facility.yaml").read_text())
    ports = [f"tcp/{10000 + number}" for number in range(MANY_SERVICES)]
    facility["prefix"] = "198.16.0.0/13"
    facility["hardware"] = "racks"
    facility["enclaves"] += [{"name": name, "title": name, "description": "Stands here."} for name in enclaves]
    facility["flows"] += [{"source": "any", "target": name, "ports": ports, "reason": "All."} for name in enclaves]
    facility["placements"] += placements
    (small / "facility.yaml").write_text(yaml.safe_dump(facility))
    path = small / "sites" / "one" / "site.yaml"
    site = yaml.safe_load(path.read_text())
    site["segments"] += [
        {"enclave": name, "subnet": f"198.20.{number}.0/24", "vni": 77000 + number}
        for number, name in enumerate(enclaves)
    ]
    path.write_text(yaml.safe_dump(site))
    return small


def test_a_hundred_services_over_twenty_four_enclaves_are_files_and_no_code(tmp_path: Path) -> None:
    small = many(tmp_path)
    examined = examine(small)
    assert ([*map(str, examined.complaints)], [*map(str, examined.warnings)]) == ([], [])
    assert examined.facility is not None
    services: dict[str, Service] = catalogue.load(small.parents[1] / "catalogue")
    found = order(examined.facility, services)
    assert len(services) >= MANY_SERVICES
    assert {start.enclave for wave in found.waves for start in wave} >= {
        f"enclave-{n:02d}" for n in range(MANY_ENCLAVES)
    }
    assert [start.service for wave in found.waves for start in wave if start.service.startswith("service-")] == [
        f"service-{number:03d}" for number in range(MANY_SERVICES)
    ]


def commands(folder: Path) -> set[str]:
    """Every command of the product that a runbook, or a step of a cold start or stop, names."""
    service = yaml.safe_load((folder / "service.yaml").read_text())
    steps = " ".join((*service["cold_start"], *service["cold_stop"], service["backup"]["how"]))
    text = (folder / "runbook.md").read_text()
    found = re.findall(r"'(pachon [^']+)'", steps) + re.findall(r"^    (pachon .+)$", text, re.MULTILINE)
    return {*found, *(each.removeprefix("sudo ") for each in re.findall(r"`((?:sudo )?pachon [^`]+)`", text))}


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in catalogue.CATALOGUE.glob("*/runbook.md")))
def test_every_command_of_a_runbook_is_one_of_the_product(folder: str) -> None:
    found = commands(catalogue.CATALOGUE / folder)
    assert found
    for command in found:
        name, *rest = [word for word in shlex.split(command)[1:] if word not in ("--site", "base")]
        assert name in NOUNS, command
        named = load_command(name)
        if hasattr(named, "commands"):
            assert rest[:1] and rest[0] in named.commands, command
            named, rest = named.commands[rest[0]], rest[1:]
        named.make_context(name, rest)
