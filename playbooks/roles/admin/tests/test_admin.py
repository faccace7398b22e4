# ruff: noqa: D103  a test says in its name what would be broken
"""What an admin host must show."""

from testinfra.host import Host


def test_there_is_room_for_the_sites_controller(host: Host) -> None:
    assert host.file("/opt/pachon").is_directory
    assert host.file("/srv/pachon").mode == 0o700


def test_the_programs_of_a_controller_are_there(host: Host) -> None:
    for program in ("dnsmasq", "mcopy", "mkfs.vfat", "rsync", "ssh", "ssh-keygen", "zstd"):
        assert host.run(f"PATH=/usr/sbin:/usr/bin:/bin command -v {program}").rc == 0, program
