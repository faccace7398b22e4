"""What the hosts of a Slurm cluster, and those that campaigns are staged on, are told."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from pachon.definition import find, load
from pachon.hostvars import of_role, secrets_of
from pachon.hostvars.storage import escaped
from pachon.model.facility import Facility, Host
from pachon.places import CHECKOUT

PROGRAM = CHECKOUT / "playbooks" / "roles" / "slurm_accounting" / "files" / "slurm-accounts"


@pytest.fixture(scope="module")
def lab() -> Facility:
    return load(find("lab"))


def one(facility: Facility, site: str, group: str) -> Host:
    return next(host for host in facility.site(site).active_hosts if group in host.groups)


def subnet(facility: Facility, site: str, enclave: str) -> str:
    segment = facility.site(site).segment(enclave)
    assert segment is not None
    return str(segment.subnet)


@pytest.mark.parametrize("site", ["base", "archive"])
def test_each_site_is_a_cluster_of_its_own(lab: Facility, site: str) -> None:
    controller, accounting = one(lab, site, "slurm_controller"), one(lab, site, "slurm_accounting")
    worker = of_role(lab, one(lab, site, "slurm_compute"), "slurm_compute")
    told = of_role(lab, controller, "slurm_controller")
    assert (told["slurm_controller_cluster"], told["slurm_controller_name"]) == (site, controller.name)
    assert told["slurm_controller_accounting"] == str(accounting.address)
    assert worker["slurm_compute_controller"] == str(controller.address)
    assert of_role(lab, accounting, "slurm_accounting")["slurm_accounting_cluster"] == site


def test_a_secret_that_a_role_is_told_of_is_made_for_it(lab: Facility) -> None:
    for role in ("slurm_controller", "slurm_accounting", "slurm_compute"):
        host = one(lab, "base", role)
        arguments = of_role(lab, host, role)
        named = {value for key, value in arguments.items() if key.endswith("_secret")}
        assert named == set(secrets_of(lab, host, role))


def test_another_worker_changes_nothing_on_the_controller(lab: Facility) -> None:
    base = lab.site("base")
    fewer = base.model_copy(update={"hosts": tuple(host for host in base.hosts if "slurm_compute" not in host.groups)})
    smaller = lab.model_copy(update={"sites": (fewer, *(site for site in lab.sites if site.name != "base"))})
    controller = one(lab, "base", "slurm_controller")
    assert of_role(lab, controller, "slurm_controller") == of_role(smaller, controller, "slurm_controller")


def test_a_worker_offers_less_memory_than_its_machine_has(lab: Facility) -> None:
    host = one(lab, "base", "slurm_compute")
    machine = lab.site("base").machine_by_serial[host.machine]
    offered = of_role(lab, host, "slurm_compute")["slurm_compute_memory_mib"]
    assert isinstance(offered, int)
    assert machine.memory_mib // 2 < offered < machine.memory_mib


def test_jobs_of_both_sites_stage_where_the_volume_of_campaigns_is_and_nobody_else(lab: Facility) -> None:
    staging = [host for host in lab.hosts if of_role(lab, host, "storage").get("storage_staging")]
    assert {host.site for host in staging} == {"base", "archive"}
    workers = {subnet(lab, site, "offline-production") for site in ("base", "archive")}
    strangers = {subnet(lab, "base", "prompt-base")}
    for host in staging:
        networks = of_role(lab, host, "storage")["storage_staging_networks"]
        assert isinstance(networks, list)
        assert workers <= set(networks)
        assert not strangers & set(networks)
        assert secrets_of(lab, host, "storage")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/srv/campaign", "srv-campaign"), ("/srv/my-data", r"srv-my\x2ddata"), ("/srv/a b/", r"srv-a\x20b")],
)
def test_mounts_are_named_as_systemd_names_them(path: str, name: str) -> None:
    assert escaped(path) == name


class Sacctmgr:
    """Stands in for sacctmgr: remembers what it was told and lists it back."""

    def __init__(self) -> None:
        self.clusters: set[str] = set()
        self.levels: dict[str, str] = {"normal": "0"}
        self.accounts: dict[str, list[str]] = {"root": ["", ""]}
        self.users: set[tuple[str, str]] = {("root", "root")}
        self.told: list[str] = []

    def __call__(self, words: list[str], told: str | None = None) -> str:
        if told is not None:
            for line in told.splitlines():
                self.told.append(line)
                self._take(line.split())
            return ""
        match words[3]:
            case "cluster":
                return "".join(f"{name}\n" for name in self.clusters)
            case "qos":
                return "".join(f"{name}|{level}\n" for name, level in self.levels.items())
        if not self.clusters:
            return ""
        rows = [[name, "", *values] for name, values in self.accounts.items()]
        rows += [[account, user, *self.accounts[account]] for account, user in self.users]
        return "".join("|".join(row) + "\n" for row in rows)

    def _take(self, words: list[str]) -> None:
        values = dict(word.split("=", 1) for word in words if "=" in word)
        match words[:2]:
            case ["add", "cluster"]:
                self.clusters.add(words[2])
            case ["add" | "modify", "qos"]:
                self.levels[words[2]] = values["Priority"]
            case ["add", "account"]:
                self.accounts[words[2]] = ["normal", "normal"]
            case ["modify", "account"]:
                self.accounts[words[2]] = [values["defaultqos"], values["qos"]]
            case ["add", "user"]:
                self.users.add((values["account"], words[2]))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[dict[str, Any], Sacctmgr]:
    """The program's names, without having run it, over a stand-in."""
    text = PROGRAM.read_text().removesuffix("\n\nmain()\n")
    path = tmp_path / "program.py"
    path.write_text(text)
    names, stand_in = runpy.run_path(str(path)), Sacctmgr()
    names["differences"].__globals__["sacctmgr"] = stand_in
    return names["differences"].__globals__, stand_in


WANTED = {
    "cluster": "base",
    "usual": "p2",
    "priorities": {"p1": 100, "p2": 200},
    "accounts": [{"name": "campaign", "title": "Campaigns", "users": ["campaign"]}],
}


def test_accounts_are_told_once_and_users_last(program: tuple[dict[str, Any], Sacctmgr]) -> None:
    names, sacctmgr = program
    lines = names["differences"](WANTED)
    assert lines[-1].startswith("add user campaign"), "a controller takes the user for the sign that all is there"
    sacctmgr([], "\n".join(lines))
    assert names["differences"](WANTED) == []


def test_only_what_differs_is_told(program: tuple[dict[str, Any], Sacctmgr]) -> None:
    names, sacctmgr = program
    sacctmgr([], "\n".join(names["differences"](WANTED)))
    raised = {**WANTED, "priorities": {"p1": 100, "p2": 250}}
    assert names["differences"](raised) == ["modify qos p2 set Priority=250"]
    more = json.loads(json.dumps(WANTED))
    more["priorities"]["p3"] = 300
    assert names["differences"](more) == [
        "add qos p3 Priority=300",
        "modify account campaign where cluster=base set qos=p1,p2,p3 defaultqos=p2",
    ]
