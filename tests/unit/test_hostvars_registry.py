"""What roles are told: every argument belongs to its role, is declared there, and is plain JSON."""

import json
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from pachon import definition, hostvars
from pachon.hostvars.registry import ARGUMENTS, SECRETS
from pachon.places import CHECKOUT

ROLES = CHECKOUT / "playbooks" / "roles"
SMALL = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world" / "facilities" / "small"
LAB, RUBIN = (definition.load(definition.find(name)) for name in ("lab", "rubin"))
OF_RUBIN = {(host.site, host.enclave, host.groups): host for host in reversed(RUBIN.hosts)}
"""The first host of each kind at each site."""
HOSTS = [(LAB, host) for host in LAB.hosts] + [(RUBIN, host) for host in OF_RUBIN.values()]


def declared(role: str) -> set[str]:
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    return set(specs["argument_specs"]["main"].get("options") or {})


def test_a_host_has_the_roles_of_every_host_first_then_those_of_its_groups_in_playing_order() -> None:
    facility = definition.load(SMALL)
    storage = next(host for host in facility.hosts if host.groups == ("storage",))
    assert hostvars.roles_of(storage) == (*hostvars.EVERY_HOST, "storage")
    many = storage.model_copy(update={"groups": ("admin", "of_no_role", "dns", "switch")})
    assert hostvars.roles_of(many) == (*hostvars.EVERY_HOST, "switch", "dns", "admin")


def test_registry_names_only_roles_that_there_are() -> None:
    assert set(ARGUMENTS) | set(SECRETS) <= set(hostvars.ROLES)


@pytest.mark.parametrize("role", sorted(ARGUMENTS))
def test_arguments_of_a_role_are_declared_by_it_and_plain_json(role: str) -> None:
    for facility, host in HOSTS:
        if role in hostvars.roles_of(host):
            told = hostvars.of_role(facility, host, role)
            assert all(key.startswith(f"{role}_") for key in told)
            assert set(told) <= declared(role)
            assert json.loads(json.dumps(told)) == told
            assert "{{" not in json.dumps(told)


@pytest.mark.parametrize("role", sorted(set(hostvars.ROLES) & {path.name for path in ROLES.iterdir()}))
def test_arguments_are_what_the_role_takes(role: str) -> None:
    """Ansible's own check, of types and of what nobody declared; plays of only ``host.yml`` of a role leave it out."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"].get("options") or {}
    defaults = ROLES / role / "defaults" / "main.yml"
    told = yaml.safe_load(defaults.read_text()) if defaults.exists() else {}
    for facility, host in HOSTS:
        if role in hostvars.roles_of(host):
            given = {**(told or {}), **hostvars.of_role(facility, host, role)}
            result = ArgumentSpecValidator(options).validate(given)
            assert result.error_messages == [], host.name


def test_arguments_of_another_type_or_that_nobody_declared_would_be_found() -> None:
    """The check above is one: it complains of both, at the top and inside."""
    specs = yaml.safe_load((ROLES / "people" / "meta" / "argument_specs.yml").read_text())
    check = ArgumentSpecValidator(specs["argument_specs"]["main"]["options"])
    bastion = next(host for host in LAB.hosts if "bastion" in host.groups)
    given = hostvars.of_role(LAB, bastion, "people")
    account = {"name": "x", "title": "X", "uid": 1, "sudo": []}
    assert check.validate({**given, "people_accounts": [account]}).error_messages == []
    wrongs: tuple[dict[str, object], ...] = (
        {"people_account": []},
        {"people_from": {}},
        {"people_accounts": [{**account, "shell": "/bin/sh"}]},
        {"people_accounts": [{**account, "uid": "first"}]},
    )
    for wrong in wrongs:
        assert check.validate({**given, **wrong}).error_messages != [], wrong


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if path.is_dir()))
def test_what_a_role_declares_it_either_has_a_default_for_or_is_told(role: str) -> None:
    path = ROLES / role / "defaults" / "main.yml"
    defaults = set(yaml.safe_load(path.read_text()) or {}) if path.exists() else set()
    told = {
        key for host in LAB.hosts if role in hostvars.roles_of(host) for key in hostvars.of_role(LAB, host, role)
    }  # fmt: skip
    assert defaults <= declared(role)
    assert declared(role) <= defaults | told


def test_the_table_of_contents_has_each_role_once_and_in_playing_order() -> None:
    plays = yaml.safe_load((CHECKOUT / "playbooks" / "site.yml").read_text())
    listed = [play["hosts"] for play in plays]
    assert listed == [role for role in hostvars.ROLES if (ROLES / role).is_dir()]
    assert all(play["roles"] == [{"role": play["hosts"]}] for play in plays)


def test_secrets_have_names_that_can_be_files_and_enough_random_bytes() -> None:
    for host in LAB.hosts:
        for role in hostvars.roles_of(host):
            for name, size in hostvars.secrets_of(LAB, host, role).items():
                assert name == name.lower() and "/" not in name
                assert size >= 16
