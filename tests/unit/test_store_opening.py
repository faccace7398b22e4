from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pachon import places
from pachon.errors import PermanentError, UsageError
from pachon.store import engines
from pachon.store.database import Store, known_migrations, migrate_in, open_if_there, open_store, version_in
from pachon.store.lease import acquire, holder_of
from pachon.store.releases import on_record
from pachon.store.tables import HEAD, METADATA
from tests import postgres


def schema(store: Store) -> dict[str, Any]:
    with store.transaction() as connection:
        inspector = sqlalchemy.inspect(connection)
        return {
            table: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
                sorted(str(index["name"]) for index in inspector.get_indexes(table)),
                inspector.get_pk_constraint(table)["constrained_columns"],
            )
            for table in sorted(METADATA.tables)
        }


def migrated(where: str, last: str = HEAD) -> Store:
    """A store that went through every migration up to the last one, one after another."""
    if "://" in where:
        engine, name = engines.postgresql(where)
        store = Store(engine, schema=name)
        with store.transaction() as connection:
            engines.make_schema(connection, name)
    else:
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        store = Store(engines.sqlite(Path(where)))
    for migration in sorted(each for each in known_migrations() if each <= last):
        with store.transaction() as connection:
            migrate_in(connection, to=migration)
    return store


def test_migrations_one_after_another_lead_to_the_tables_that_are_made_in_one_go(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    stepwise = migrated(where)
    assert stepwise.migration() == HEAD == max(known_migrations())
    other = where.replace("schema=t", "schema=other") if "://" in where else str(tmp_path / "made" / "store.db")
    assert schema(stepwise) == schema(open_store(other))


def test_a_store_of_an_earlier_migration_is_brought_up_to_date_with_what_it_holds(where: str) -> None:
    store = open_store(where)
    lease = acquire(store, "base", facility="f", command="c")
    with store.transaction() as connection:
        for line in ("DROP INDEX steps_by_run", "ALTER TABLE runs DROP COLUMN process"):
            connection.exec_driver_sql(line)
        connection.exec_driver_sql("ALTER TABLE runs DROP COLUMN controller")
        for table in ("rollouts", "rollout_steps", "rollout_words", "releases", "release_proofs", "release_holds"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("DROP TABLE releases_in_force")
        connection.exec_driver_sql("DROP TABLE instance_versions")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    store.close()
    again = open_store(where)
    assert again.migration() == HEAD
    held = holder_of(again, "base")
    assert held is not None
    assert held.run_id == lease.run_id


def test_proofs_of_releases_are_kept_for_the_places_where_they_are_in_force(where: str) -> None:
    earlier = migrated(where, "0006")
    at = "'2026-11-28 09:00:00+00:00'"
    with earlier.transaction() as connection:
        for site in ("archive", "base"):
            values = f"'search', 'sha256:1', '{site}', 'r', {at}"
            connection.exec_driver_sql(f"INSERT INTO release_proofs VALUES ({values})")
        values = f"'search', 'archive', 'us-dac', '1.1.0', 'sha256:1', 'r', {at}"
        connection.exec_driver_sql(f"INSERT INTO releases_in_force VALUES ({values})")
    earlier.close()
    assert on_record(open_store(where), "search").proven == {("sha256:1", "archive", "us-dac")}


@pytest.mark.parametrize("version", ["9999", "0003-of-somebody-else"])
def test_a_store_of_a_later_pachon_is_refused_and_left_as_it_is(where: str, version: str) -> None:
    store = open_store(where)
    with store.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    store.close()
    with pytest.raises(PermanentError, match=f"migration {version}.*this Pachon knows {HEAD}"):
        open_store(where)
    with store.snapshot() as connection:
        assert version_in(connection) == version


def test_a_store_is_private_and_opens_again(where: str, tmp_path: Path) -> None:
    assert open_if_there(where) is None
    open_store(where).close()
    if "://" not in where:
        assert Path(where).stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in Path(where).parent.iterdir()) == ["store.db", "store.lock"]
    found = open_if_there(where)
    assert found is not None
    found.close()


def test_facilities_of_one_database_see_nothing_of_each_other(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACHON_STORE", server.plain_address)
    monkeypatch.setenv("PACHON_STORE_PASSWORD_FILE", str(server.password_file))
    one, other = (open_store(places.store(tmp_path / name)) for name in ("f-one", "f-other"))
    acquire(one, "base", facility="f", command="c")
    acquire(other, "base", facility="f", command="c")
    one.forget_all()
    assert open_if_there(places.store(tmp_path / "f-one")) is None
    assert holder_of(other, "base") is not None
    for store in (one, other):
        assert postgres.SECRET not in store.where
        assert postgres.SECRET not in repr(vars(store))


def test_a_password_comes_from_a_private_file_and_from_nowhere_else(
    server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACHON_STORE_PASSWORD_FILE", raising=False)
    monkeypatch.setenv("PACHON_STORE", server.plain_address)
    with pytest.raises(PermanentError, match="does not let us in"):
        open_store(places.store(tmp_path / "f-secret"))
    secret = tmp_path / "f-secret" / "store.password"
    secret.parent.mkdir()
    secret.write_text(postgres.SECRET)
    secret.chmod(0o644)
    with pytest.raises(PermanentError, match="others may read"):
        open_store(places.store(tmp_path / "f-secret"))
    secret.chmod(0o600)
    open_store(places.store(tmp_path / "f-secret")).close()
    secret.write_text("wrong")
    with pytest.raises(PermanentError, match="does not let us in"):
        open_store(places.store(tmp_path / "f-secret"))
    monkeypatch.setenv("PACHON_STORE", f"postgresql://me:{postgres.SECRET}@db/pachon")
    with pytest.raises(UsageError, match="has a password in it") as caught:
        open_store(places.store(tmp_path / "f-secret"))
    assert postgres.SECRET not in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://db/pachon", "sqlite:////tmp/x.db", "no address://"])
def test_an_address_of_something_else_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="store"):
        open_store(address)


def test_the_store_of_a_facility_is_a_file_of_its_state_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACHON_STORE", raising=False)
    assert places.store(tmp_path) == str(tmp_path / "store.db")
