# ruff: noqa: D103  a test says in its name what would be broken
"""What a name server must show."""

from testinfra.host import Host

ASK = """
import random, socket, struct, sys
name, kind = sys.argv[1], int(sys.argv[2])
question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\\0"
asked = struct.pack(">HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 0) + question + struct.pack(">HH", kind, 1)
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.settimeout(5)
link.sendto(asked, ("127.0.0.1", 53))
answer = link.recv(4096)
print(answer[3] & 15, struct.unpack(">H", answer[6:8])[0])
"""
ADDRESS, POINTER = 1, 12
FINE, NO_SUCH_NAME, REFUSED = 0, 3, 5


def ask(host: Host, name: str, kind: int) -> tuple[int, int]:
    """Status of the answer and number of records."""
    said = host.run("python3 -c %s %s %s", ASK, name, str(kind))
    assert said.rc == 0, said.stderr
    status, records = said.stdout.split()
    return int(status), int(records)


def records(host: Host) -> list[list[str]]:
    lines = host.file("/etc/pachon/dns/names").content_string.splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


def test_every_name_has_its_address(host: Host) -> None:
    names = {name for _, *names in records(host) for name in names if "." in name}
    assert {name for name in names if ask(host, name, ADDRESS)[1] == 0} == set()


def test_every_address_has_its_name(host: Host) -> None:
    for address, *_ in records(host):
        reverse = ".".join([*reversed(address.split(".")), "in-addr", "arpa"])
        assert ask(host, reverse, POINTER)[1] == 1, address


def test_it_knows_what_is_not_there_and_nothing_beyond(host: Host) -> None:
    domain = records(host)[0][1].partition(".")[2]
    assert ask(host, f"nobody.{domain}", ADDRESS) == (NO_SUCH_NAME, 0)
    assert ask(host, "www.example.org", ADDRESS)[0] == REFUSED
