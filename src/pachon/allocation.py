"""Which machine becomes which host of a pool: a pure function, so that the same facts always deal the same way.

Hosts that exist stay on their machines whatever is added around them; new hosts take the lowest free number and
the first free machine in the order given (that of ``machines.csv``, where new machines are added at the end).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from pachon.model.facility import HostName, Machine, Pool, Serial


@dataclass(frozen=True)
class Dealt:
    """One host of a pool and the machine that it is on."""

    name: HostName
    machine: Serial
    address: IPv4Address


@dataclass(frozen=True)
class Deal:
    """What is to happen to the hosts of a pool."""

    keep: tuple[Dealt, ...]
    add: tuple[Dealt, ...]
    remove: tuple[HostName, ...]
    """Hosts that leave their machine; one that is also in ``add`` moves to another."""
    lacking: int
    """How many hosts found no machine."""

    @property
    def hosts(self) -> tuple[Dealt, ...]:
        """All hosts that the pool is to have, by name."""
        return tuple(sorted((*self.keep, *self.add), key=lambda dealt: dealt.name))


def number_of(pool: Pool, name: HostName) -> int | None:
    """The number in a host name of this pool, or None when the name is none of the pool's."""
    stem = pool.host_names.rstrip("#")
    digits = name.removeprefix(stem)
    width = len(pool.host_names) - len(stem)
    if not name.startswith(stem) or not (digits.isascii() and digits.isdigit()):
        return None
    number = int(digits)
    return number if number >= pool.first_number and f"{number:0{width}d}" == digits else None


def name_of(pool: Pool, number: int) -> HostName:
    """Host name of a number."""
    stem = pool.host_names.rstrip("#")
    return f"{stem}{number:0{len(pool.host_names) - len(stem)}d}"


def address_of(pool: Pool, number: int) -> IPv4Address:
    """Address of a number; numbers past the end of IPv4 share the last address (which a check refuses)."""
    return IPv4Address(min(int(pool.first_address) + number - pool.first_number, 2**32 - 1))


def kept(
    pool: Pool, existing: Mapping[HostName, Serial], *, free: Mapping[Serial, Machine], wanted: int
) -> list[Dealt]:
    """Existing hosts of the pool that stay: lowest numbers first, on machines that are there and still match."""
    numbers = sorted(
        (number, serial)
        for name, serial in existing.items()
        if (number := number_of(pool, name)) is not None and serial in free and pool.machines.matches(free[serial])
    )
    return [Dealt(name_of(pool, number), serial, address_of(pool, number)) for number, serial in numbers[:wanted]]


def deal(
    pool: Pool,
    existing: Mapping[HostName, Serial],
    *,
    free: Sequence[Machine],
    wanted: int,
    taken: Collection[HostName | IPv4Address] = (),
    spoken_for: Collection[Serial] = (),
) -> Deal:
    """Hosts that the pool keeps, adds and removes so as to have ``wanted`` of them.

    ``existing`` says which host is on which machine now; names that are none of this pool's are passed over.
    ``free`` are machines that carry no host written out by name, in order of preference. ``taken`` are names and
    addresses of others: their numbers are passed over. ``spoken_for`` are machines that other pools keep.
    """
    taken = frozenset(taken)
    spoken_for = frozenset(spoken_for)
    machines = {machine.serial: machine for machine in free if machine.serial not in spoken_for}
    own = {name: serial for name, serial in existing.items() if number_of(pool, name) is not None and name not in taken}
    keep = kept(pool, own, free=machines, wanted=wanted)
    used = {dealt.machine for dealt in keep}
    names = {dealt.name for dealt in keep}
    candidates = [
        serial for serial, machine in machines.items() if serial not in used and pool.machines.matches(machine)
    ]
    add: list[Dealt] = []
    number = pool.first_number
    while len(keep) + len(add) < wanted and len(add) < len(candidates):
        name, address = name_of(pool, number), address_of(pool, number)
        if name not in names and name not in taken and address not in taken:
            add.append(Dealt(name, candidates[len(add)], address))
        number += 1
    remove = tuple(sorted(name for name in own if name not in names))
    return Deal(tuple(keep), tuple(add), remove, max(0, wanted - len(keep) - len(add)))
