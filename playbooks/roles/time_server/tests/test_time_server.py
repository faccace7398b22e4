# ruff: noqa: D103  a test says in its name what would be broken
"""What a time server must show."""

from testinfra.host import Host


def test_it_answers_on_the_port_of_ntp(host: Host) -> None:
    assert host.socket("udp://0.0.0.0:123").is_listening


def test_it_has_a_time_to_tell(host: Host) -> None:
    stratum = int(host.check_output("sudo -n chronyc -n -c tracking").split(",")[2])
    assert 0 < stratum < 16
