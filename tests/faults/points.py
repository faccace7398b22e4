"""Points of ``pachon up`` on a furnished pair of machines, told by the run's own record; how the pair must come out."""

from collections.abc import Callable

from tests.e2e import making
from tests.e2e.rig import Rig, Told, at, processes_with

Point = Callable[[Told], bool]


def points(name: str) -> dict[str, Point]:
    """The points by name, in the order in which they come, for the facility of that name: a switch, then a server."""
    switch, server = making.host(name, 1), making.host(name, 2)
    return {
        "images": at("images"),
        "lab begun": at("lab", state="started"),
        "lab stands": at("lab", state="done"),
        "boot service begun": at("boot", state="started"),
        "boot service stands": at("boot", address="here/boot", state="done"),
        "network begun": at("network", state="started"),
        "compute begun": at("compute", address="here", state="started"),
        "machine enrolled": at("network", address=f"machine/{making.serial(name, 1)}", state="done"),
        "host begun": at("compute", address=server, state="started"),
        "deploy image asked for": at("compute", address=server, says="booting the deploy image"),
        "deploy image fetched": at("compute", address=server, state="moving", says="booting"),
        "disk partitioned": at("compute", address=server, says="partition"),
        "image being written": at("compute", address=server, says="image"),
        "deploy done": at("compute", address=server, says="done"),
        "booting from disk": at("compute", address=server, says="booting from its own disk"),
        "one host done": at("network", address=switch, state="done"),
        "hosts done, state not written": at("compute", address=server, state="done"),
        "network done": at("network", address="here", state="done"),
        "compute done": at("compute", address="here", state="done"),
        "storage begun": at("storage", address="here", state="started"),
        "volume begun": at("storage", address="volume/landing", state="started"),
        "volume done": at("storage", address="volume/landing", state="done"),
        "hosts begun": at("hosts", address=switch, state="started"),
        "role begun": at("hosts", address=server, state="moving", says="firewall"),
        "certificate given": at("hosts", address=server, state="moving", says="certificates: Have"),
        "one host configured": at("hosts", address=switch, state="done"),
        "hosts configured": at("hosts", address="here", state="done"),
    }


def assert_right(made: Rig, dead: list[str]) -> None:
    """The facility is as defined, nothing of the dead runs lives, and no machine was imaged more often than once."""
    switch, server = making.host(made.name, 1), making.host(made.name, 2)
    assert made.ssh(server, "hostname; findmnt -no SOURCE /srv/landing").startswith(f"{server}\n/dev/vdb")
    assert made.ssh(switch, "readlink /sys/class/net/swp2/master").endswith("/br100\n")
    for run in dead:
        assert processes_with(f"PACHON_RUN_ID={run}") == []
    assert [made.imagings(making.serial(made.name, number)) for number in (1, 2)] == [1, 1]


def up_again(made: Rig, *words: str) -> None:
    """A second run, which must finish by itself."""
    report = made.ask("up", *words)
    assert report["failures"] == []
    assert {host["done"] for host in report["hosts"]} <= {"created", "updated", "replaced", "unchanged"}
