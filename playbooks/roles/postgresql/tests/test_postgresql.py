# ruff: noqa: D103  a test says in its name what would be broken
"""What a member of a managed database must show."""

from typing import Any

from testinfra.host import Host


def test_it_runs_and_starts_again_by_itself(host: Host) -> None:
    assert host.service("pachon-postgresql").is_running
    assert host.service("pachon-postgresql").is_enabled
    assert host.check_output("systemctl show pachon-postgresql -p Restart --value") == "always"


def test_a_primary_takes_rows_and_a_replica_is_read_also_while_the_site_is_cut_off(host: Host) -> None:
    tried = host.run("sudo -n /usr/libexec/pachon/postgresql-smoke --here")
    assert tried.rc == 0, tried.stderr


def test_nobody_comes_in_without_a_certificate_or_encryption(host: Host, arguments: dict[str, Any]) -> None:
    line = f"host={arguments['postgresql_address']} dbname=smoke user=smoke connect_timeout=20"
    for way in ("sslmode=disable", "sslmode=require"):
        tried = host.run("/usr/lib/postgresql/15/bin/psql -XAtd %s -c 'SELECT 1'", f"{line} {way}")
        assert tried.rc != 0


def test_checksums_of_pages_are_kept(host: Host) -> None:
    ask = "sudo -n -u postgres /usr/lib/postgresql/15/bin/psql -XAt -h /run/pachon-postgresql -c 'SHOW data_checksums'"
    assert host.check_output(ask) == "on"
