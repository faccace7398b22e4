"""Where the twin puts a facility's addresses: the first octet becomes 127, the rest stays. Pure.

All of 127.0.0.0/8 belongs to the machine's loopback, needs no right and no configuration, and two addresses of one
facility never meet.
"""

from ipaddress import IPv4Address


def loopback(address: IPv4Address) -> IPv4Address:
    """The twin's address for one of the facility: 198.18.3.7 is 127.18.3.7."""
    return IPv4Address(bytes((127, *address.packed[1:])))
