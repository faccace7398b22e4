# ruff: noqa: D103  a test says in its name what would be broken
"""What a log host must show."""

import time

from testinfra.host import Host

FOLDER = "/var/log/journal/remote"
PATIENCE_SECONDS = 60


def test_it_listens_for_journals(host: Host) -> None:
    assert host.socket("tcp://:::19532").is_listening


def test_what_it_logs_itself_arrives(host: Host) -> None:
    word = host.check_output("cat /proc/sys/kernel/random/uuid")
    host.check_output(f"logger -t pachon-test {word}")
    end = time.monotonic() + PATIENCE_SECONDS
    found = ""
    while word not in found and time.monotonic() < end:
        found = host.run(f"sudo -n journalctl -q -D {FOLDER} -t pachon-test -o cat --grep {word}").stdout
        time.sleep(0.5)
    assert word in found


def test_it_shows_the_hosts_certificate(host: Host) -> None:
    asked = host.run("openssl s_client -connect 127.0.0.1:19532 -CAfile /etc/pachon/pki/trust.pem </dev/null")
    assert "Verify return code: 0 (ok)" in asked.stdout


def test_what_hosts_log_is_in_a_file_for_each(host: Host) -> None:
    files = host.check_output(f"sudo -n ls {FOLDER}").split()
    assert files and all(name.startswith("remote-") for name in files)


def test_the_limit_is_looked_at(host: Host) -> None:
    assert host.check_output("systemctl is-active pachon-log-limit.timer") == "active"
