# ruff: noqa: D103  a test says in its name what would be broken
"""What every host must show of its journal's way to the log host."""

from testinfra.host import Host

UNIT = "systemd-journal-upload"


def test_the_journal_is_sent_where_there_is_a_log_host(host: Host) -> None:
    wanted = "\nURL=https://" in host.file("/etc/systemd/journal-upload.conf").content_string
    assert host.service(UNIT).is_enabled
    assert host.service(UNIT).is_running == wanted
