"""A DHCP client as firmware has it: no address yet, so it speaks through a packet socket. Sans file, daemon or lease.

RFC 2131, with the options of UEFI HTTP boot (UEFI 2.10, section 24.7: vendor class HTTPClient, RFC 4578 architecture).
"""

import os
import select
import socket
import struct
import time
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address

ETH_P_IP = 0x0800
VENDOR_CLASS = b"HTTPClient:Arch:00016:UNDI:003001"
ARCHITECTURE_X64_HTTP = 16
ATTEMPT_SECONDS = (1.0, 2.0, 4.0, 4.0)

_COOKIE = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK = 1, 2, 3, 5, 6


@dataclass(frozen=True)
class Lease:
    """What the server gave."""

    address: IPv4Address
    prefix: int
    gateway: IPv4Address | None
    boot_uri: str
    """Boot file name (option 67), empty if none was given."""
    server: IPv4Address


def message(kind: int, mac: bytes, *, xid: int, machine: str, extra: bytes = b"") -> bytes:
    """A client's message as an Ethernet frame to everybody."""
    options = (
        bytes((53, 1, kind))
        + bytes((60, len(VENDOR_CLASS)))
        + VENDOR_CLASS
        + struct.pack("!BBH", 93, 2, ARCHITECTURE_X64_HTTP)
        + bytes((94, 3, 1, 3, 16))
        + bytes((97, 17, 0))
        + uuid.UUID(machine).bytes_le
        + bytes((55, 7, 1, 3, 43, 54, 60, 66, 67))
        + extra
        + b"\xff"
    )
    body = struct.pack("!BBBBIHH", 1, 1, 6, 0, xid, 0, 0x8000) + bytes(16) + mac + bytes(10 + 64 + 128)
    body += _COOKIE + options
    body += bytes(max(0, 300 - len(body)))
    udp = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return b"\xff" * 6 + mac + struct.pack("!H", ETH_P_IP) + head + udp


def _checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


@dataclass(frozen=True)
class Answer:
    """A server's message."""

    kind: int
    address: IPv4Address
    boot_file: str
    options: dict[int, bytes]


def parse(frame: bytes, *, xid: int) -> Answer | None:
    """The server's answer in an Ethernet frame; None if the frame is something else."""
    if len(frame) < 14 + 20 + 8 + 240 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return None
    udp_at = 14 + (frame[14] & 15) * 4
    source, target = struct.unpack_from("!HH", frame, udp_at)
    body = frame[udp_at + 8 :]
    if (source, target) != (67, 68) or len(body) < 240 or body[0] != 2:
        return None
    if struct.unpack_from("!I", body, 4)[0] != xid or body[236:240] != _COOKIE:
        return None
    options: dict[int, bytes] = {}
    at = 240
    while at + 1 < len(body) and body[at] != 255:
        if body[at] == 0:
            at += 1
            continue
        length = body[at + 1]
        options[body[at]] = options.get(body[at], b"") + body[at + 2 : at + 2 + length]
        at += 2 + length
    file = body[108:236].split(b"\0")[0].decode("ascii", "replace")
    return Answer((options.get(53) or b"\0")[0], IPv4Address(body[16:20]), file, options)


def lease_of(answer: Answer) -> Lease:
    """What an acknowledgement grants."""
    options = answer.options
    mask = int.from_bytes(options.get(1, b"\xff\xff\xff\0"), "big")
    gateway = IPv4Address(options[3][:4]) if len(options.get(3, b"")) >= 4 else None
    uri = options.get(67, b"").rstrip(b"\0").decode("ascii", "replace") or answer.boot_file
    server = IPv4Address(options[54]) if len(options.get(54, b"")) == 4 else IPv4Address(0)
    return Lease(answer.address, mask.bit_count(), gateway, uri, server)


def ask(link: str, mac: str, *, machine: str) -> Lease | None:
    """The lease that a server on the link grants to this MAC; None if nobody answers in about eleven seconds.

    Raises:
        OSError: there is no such link, or it is down.
    """
    address = bytes.fromhex(mac.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as wire:
        wire.bind((link, ETH_P_IP))
        for seconds in ATTEMPT_SECONDS:
            xid = int.from_bytes(os.urandom(4), "big")
            wire.send(message(_DISCOVER, address, xid=xid, machine=machine))
            offer = _hear(wire, xid, _OFFER, seconds=seconds)
            if offer is None:
                continue
            extra = bytes((50, 4)) + offer.address.packed
            if 54 in offer.options:
                extra += bytes((54, 4)) + offer.options[54][:4]
            wire.send(message(_REQUEST, address, xid=xid, machine=machine, extra=extra))
            granted = _hear(wire, xid, _ACK, seconds=seconds)
            if granted is not None:
                return lease_of(granted)
    return None


def _hear(wire: socket.socket, xid: int, kind: int, *, seconds: float) -> Answer | None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([wire], [], [], left)
        if not ready:
            return None
        answer = parse(wire.recv(65536), xid=xid)
        if answer is not None and answer.kind == kind:
            return answer
        if answer is not None and answer.kind == _NAK:
            return None
    return None
