"""The catalogue has the facility's forty services, and says that one works only where a test shows it."""

from pathlib import Path

import pytest

from pachon.definition import catalogue, status
from pachon.errors import DefinitionError, UsageError
from pachon.model.service import Service, ServiceGroup, ServiceState, Tier

FORTY = 40
NEEDS = "needs:\n  - service: network-security\n    contract: gateways\n"
"""What authentication, which the tests change, needs."""


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return catalogue.load()


def test_all_fifty_numbers_stand_in_forty_services(services: dict[str, Service]) -> None:
    assert len(services) == FORTY
    assert sorted(number for service in services.values() for number in service.numbers) == list(range(1, 51))


def test_every_group_has_a_service(services: dict[str, Service]) -> None:
    assert {service.group for service in services.values()} == set(ServiceGroup)


def test_services_with_two_tiers_in_the_documents_take_the_higher_one(services: dict[str, Service]) -> None:
    numbered = {number: service for service in services.values() for number in service.numbers}
    assert [numbered[number].tier for number in (9, 29, 37, 47)] == [
        Tier.REAL_TIME,
        Tier.CRITICAL,
        Tier.REAL_TIME,
        Tier.REAL_TIME,
    ]


def test_the_observatory_has_the_last_word_where_the_documents_say_so(services: dict[str, Service]) -> None:
    assert {each.numbers[0] for each in services.values() if each.observatory_veto} == {1, 4, 5, 7, 9, 11}


def test_every_proof_names_a_test_that_is_there(services: dict[str, Service]) -> None:
    missing = [proof for service in services.values() for proof in service.proof if not status.has_test(proof)]
    assert missing == []


def written(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "service.yaml").write_text(text)


def test_a_catalogue_with_faults_names_all_of_them(tmp_path: Path) -> None:
    good = (catalogue.CATALOGUE / "authentication" / "service.yaml").read_text()
    good = good.replace(NEEDS, "")
    written(tmp_path, "authentication", good)
    written(tmp_path, "double", good.replace("tier: real-time", "tier: realtime").replace("[47]", "[147]"))
    needs = "needs:\n  - service: authentification\n  - {service: authentication, endpoint: ldap}\n"
    written(tmp_path, "needy", good + needs)
    with pytest.raises(DefinitionError) as raised:
        catalogue.load(tmp_path)
    said = [f"{complaint.wrong}; {complaint.right}" for complaint in raised.value.complaints]
    assert said == [
        "tier is 'realtime'; did you mean 'real-time'?",
        "the number 47 is already that of authentication; keep it in one of them",
        "there is no service 'authentification'; did you mean 'authentication'?",
        "the service authentication has no endpoint 'ldap'; its endpoints are directory, https",
    ]


def proven(services: dict[str, Service], *proof: str) -> Service:
    return services["provisioning"].model_copy(update={"proof": proof})


def test_status_follows_from_the_state_and_the_tests_that_are_there(services: dict[str, Service]) -> None:
    own = "tests/unit/test_definition_catalogue.py::test_every_group_has_a_service"
    assert status.status_of(proven(services)) is status.Status.UNPROVEN
    assert status.status_of(proven(services, own)) is status.Status.WORKS
    assert status.status_of(proven(services, own, own + "_not")) is status.Status.UNPROVEN
    assert status.status_of(proven(services, "tests/unit/test_of_nothing.py::test_x")) is status.Status.UNPROVEN
    declared = proven(services, own).model_copy(update={"state": ServiceState.DECLARED})
    assert status.status_of(declared) is status.Status.DECLARED


def test_status_table_has_a_row_for_each_service_and_counts_what_works(services: dict[str, Service]) -> None:
    declared = {"proof": (), "state": ServiceState.DECLARED}
    bare = {name: service.model_copy(update=declared) for name, service in services.items()}
    catalogue_with_proof = {**bare, "provisioning": proven(services, "tests/x.py::test_x")}
    table = status.status_table(catalogue_with_proof, exists=lambda name: True)
    assert table.startswith("1 of 40 services are deployable and work; 39 are only declared.")
    assert table.count("\n| ") == FORTY + 2
    assert "| critical | works | role | `tests/x.py::test_x` |" in table


def test_status_table_replaces_only_what_stands_between_its_markers() -> None:
    page = f"before\n{status.BEGIN}\nold\n{status.END}\nafter\n"
    assert status.with_table(page, "new\n") == f"before\n{status.BEGIN}\nnew\n{status.END}\nafter\n"
    for broken in ("", status.BEGIN, f"{status.END}{status.BEGIN}", page + page):
        with pytest.raises(UsageError):
            status.with_table(broken, "new\n")


def test_status_check_says_when_the_page_is_not_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{status.BEGIN}\n{status.END}\n")
    assert status.main(["--check", str(page)]) == 1
    assert "not current" in capsys.readouterr().err
    assert status.main([str(page)]) == 0
    assert status.main(["--check", str(page)]) == 0
