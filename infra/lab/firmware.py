"""Firmware of a firmware machine: turns this process into QEMU (software emulation) under UEFI firmware (OVMF).

The BMC's boot source becomes UEFI variables and boot indices; what then happens is the firmware's own doing.
"""

import fcntl
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from infra.lab import kernel, plug
from infra.lab.boot_source import Choice
from infra.lab.spec import MachineSpec

CODE_FILES = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/edk2/ovmf/OVMF_CODE_4M.fd")
VARIABLES_FILES = ("/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/edk2/ovmf/OVMF_VARS_4M.fd")
VARIABLES_FILE = "vars.fd"
VIRTIO_SERIAL_BYTES = 20
"""A virtio disk's serial is cut off after so many."""

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_NETBOOT_ENTRY = 0x99

Say = Callable[[str], None]


def first_existing(paths: tuple[str, ...]) -> str | None:
    """The first of the files that is there."""
    return next((path for path in paths if Path(path).exists()), None)


def write_variables(folder: Path, *, boot_uri: str | None) -> Path:
    """The machine's UEFI variable store, kept from boot to boot; with a URI the next boot is over HTTP from there.

    An empty URI lets DHCP name the file. Done in this process: the URI carries a token, which no command line may show.
    """
    from virt.firmware.efi import devpath  # type: ignore[import-untyped]  # ships no types
    from virt.firmware.varstore import edk2  # type: ignore[import-untyped]  # ships no types

    path = folder / VARIABLES_FILE
    if not path.exists():
        shutil.copyfile(first_existing(VARIABLES_FILES) or VARIABLES_FILES[0], path)
    path.chmod(0o600)
    store = edk2.Edk2VarStore(str(path))
    variables = store.get_varlist()
    if boot_uri is None:
        stale = [name for name in ("BootNext", f"Boot{_NETBOOT_ENTRY:04X}") if name in variables]
        if not stale:
            return path
        for name in stale:
            variables.delete(name)
    else:
        variables.set_boot_entry(_NETBOOT_ENTRY, "netboot", devpath.DevicePath.uri(boot_uri))
        variables.set_boot_next(_NETBOOT_ENTRY)
    store.write_varstore(str(path), variables)
    return path


def open_taps(spec: MachineSpec) -> list[int]:
    """Descriptors of new taps on the floor, one a NIC; the taps go when they are closed, as links do at power-off."""
    taps: list[int] = []
    with kernel.inside(spec.floor):
        for port in spec.ports:
            tap = os.open("/dev/net/tun", os.O_RDWR)
            flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
            fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", port.link.encode(), flags))
            os.set_inheritable(tap, True)
            taps.append(tap)
    return taps


def argv(spec: MachineSpec, folder: Path, *, choice: Choice, clock: str, taps: list[int], monitor: int) -> list[str]:
    """The QEMU command of one power-on."""
    serial = _escaped(spec.serial)
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-avx,-avx2"]
    command += ["-smp", str(spec.cpus), "-m", str(spec.memory_mib), "-uuid", spec.uuid]
    command += ["-name", f"{spec.facility}.{serial}"]
    identity = f"manufacturer={_escaped(spec.vendor)},product={_escaped(spec.model)}"
    command += ["-smbios", f"type=1,serial={serial},uuid={spec.uuid},{identity}"]
    command += ["-rtc", f"base={clock},clock=host" if clock else "base=utc,clock=host"]
    code = first_existing(CODE_FILES) or CODE_FILES[0]
    command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
    command += ["-drive", f"if=pflash,format=raw,unit=1,file={_escaped(str(folder / VARIABLES_FILE))}"]
    command += ["-chardev", f"file,id=console,append=on,path={_escaped(str(folder / 'console.log'))}"]
    command += ["-serial", "chardev:console"]
    command += ["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]
    command += ["-device", "virtio-rng-pci"]
    media_first = choice.source == "Cd"
    for number, disk in enumerate(spec.disks):
        file = _escaped(disk.file)
        command += ["-drive", f"if=none,id=d{number},format=raw,discard=unmap,file={file}"]
        device = f"virtio-blk-pci,drive=d{number},serial={_escaped(disk.serial[:VIRTIO_SERIAL_BYTES])}"
        command += ["-device", f"{device},bootindex={number + 1}"]
    for number, (port, tap) in enumerate(zip(spec.ports, taps, strict=True)):
        command += ["-netdev", f"tap,id=n{number},fd={tap}"]
        command += ["-device", f"virtio-net-pci,netdev=n{number},mac={port.mac},romfile="]
    if choice.media_path:
        command += ["-drive", f"if=none,id=media,format=raw,readonly=on,file={_escaped(choice.media_path)}"]
        command += ["-device", "qemu-xhci"]
        index = 0 if media_first else len(spec.disks) + 1
        command += ["-device", f"usb-storage,drive=media,removable=on,bootindex={index}"]
    return command


def _escaped(text: str) -> str:
    """Text as a value in QEMU's comma-separated options."""
    return text.replace(",", ",,")


def boot(spec: MachineSpec, folder: Path, *, choice: Choice, say: Say, monitor: int) -> None:
    """Exec QEMU. Never comes back.

    Raises:
        OSError, PermanentError: a tap, the variables or the program cannot be had.
    """
    write_variables(folder, boot_uri=choice.target if choice.source == "UefiHttp" else None)
    taps = open_taps(spec)
    plug.connect(folder, spec)
    clock = str(plug.faults(folder).get("clock", ""))
    command = argv(spec, folder, choice=choice, clock=clock, taps=taps, monitor=monitor)
    say(f"starting UEFI, boot source {choice.source}{', clock ' + clock if clock else ''}")
    kernel.die_with_parent(False)
    with kernel.inside(spec.namespace):
        os.execvpe(command[0], command, {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"})
