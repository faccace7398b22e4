"""Takes down what ``pachon up`` made of a lab: boot services, hardware, state; only caches stay. Or the hardware alone.

It needs a name, not a definition: what a definition says of a lab that stands may be wrong by now, or unreadable.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from pachon import places
from pachon.errors import LeaseHeldError, PachonError, UsageError
from pachon.ground import of as ground_of
from pachon.model.facility import Facility, Hardware
from pachon.progress import Event, Progress
from pachon.store.database import open_if_there, open_store
from pachon.store.forgetting import forget_hardware, sites_written
from pachon.store.lease import hold


def down(facility: Facility, *, state: Path, command: str, progress: Progress) -> bool:
    """Whether there was anything to take down.

    Raises:
        RefusedError: the facility stands on racks.
        LeaseHeldError: somebody is writing.
    """
    if facility.hardware is Hardware.RACKS or not state.exists():
        asyncio.run(ground_of(facility).down(state, progress))
        return False
    sites = {site.name for site in facility.sites} | sites_of(state)
    _take_down(facility.name, sites, state=state, command=command, progress=progress)
    return True


def down_by_name(name: str, *, state: Path, command: str, progress: Progress) -> None:
    """As ``down``, from what the state folder shows.

    Raises:
        UsageError: no lab of that name has been up here, so the state may be that of racks.
        LeaseHeldError: somebody is writing.
    """
    refuse_racks(name, state)
    _take_down(name, sites_of(state), state=state, command=command, progress=progress)


def refuse_racks(name: str, state: Path) -> None:
    """Nothing, if a lab of that name has been up here.

    Raises:
        UsageError: there is no trace of one.
    """
    from infra.lab import record

    if not (state / "lab").exists() and (os.geteuid() != 0 or record.read(name) is None):
        raise UsageError(
            f"the definition of {name!r} cannot be read, and no lab of that name is on record here",
            cure="mend the definition first: 'pachon check' names what is wrong",
        )


def sites_of(state: Path) -> set[str]:
    """Names of the sites that a facility's state shows."""
    boot = {path.name for path in (state / "boot").glob("*") if path.is_dir()}
    return boot | {path.stem for path in (state / "lab" / "sites").glob("*.json")}


def _take_down(name: str, sites: Iterable[str], *, state: Path, command: str, progress: Progress) -> None:
    listed = sorted(sites)
    store = open_store(places.store(state))
    try:
        with ExitStack() as stack:
            for site in listed:
                stack.enter_context(hold(store, site, facility=name, command=command))
            asyncio.run(_stop(name, listed, state, progress))
        store.forget_all()
    finally:
        store.close()
    shutil.rmtree(state, ignore_errors=True)


async def _stop(name: str, sites: Iterable[str], state: Path, progress: Progress) -> None:
    from infra.boot import launch

    progress(Event("boot", "", "started", "stopping boot services"))
    for site in sites:
        await launch.stop(state, site)
    progress(Event("boot", "", "done", "boot services are stopped"))
    await remove_hardware(name, state, progress)


def take_hardware_away(name: str, *, state: Path, command: str, progress: Progress) -> None:
    """Take the emulated hardware of that name away alone, and put on record that what was made on it went with it.

    First the record: who is killed in between leaves a lab of which the next run adopts what it finds.

    Raises:
        LeaseHeldError: somebody is writing.
        PachonError: of the record, once the hardware is gone.
    """
    from infra.lab import record

    there = (state / "lab").exists() or (os.geteuid() == 0 and record.read(name) is not None)
    trouble: PachonError | None = None
    with ExitStack() as stack:
        if there:
            try:
                _forget(name, stack, state=state, command=command, progress=progress)
            except LeaseHeldError:
                raise
            except PachonError as error:
                trouble = error
        asyncio.run(remove_hardware(name, state, progress))
    if trouble is not None:
        raise trouble


def _forget(name: str, stack: ExitStack, *, state: Path, command: str, progress: Progress) -> None:
    """Put on record that nothing stands; the sites are held as long as the stack."""
    store = open_if_there(places.store(state))
    if store is None:
        return
    stack.callback(store.close)
    held = [
        stack.enter_context(hold(store, site, facility=name, command=command))
        for site in sorted(sites_of(state) & sites_written(store))
    ]
    shutil.rmtree(state / "pulumi", ignore_errors=True)
    number = sum(forget_hardware(store, lease) for lease in held)
    if number:
        progress(
            Event("records", "", "done", f"{number} resources went with the hardware: the next 'up' makes them anew")
        )


async def remove_hardware(name: str, state: Path, progress: Progress) -> None:
    """Take the emulated hardware of that name away, whichever kind it is."""
    from infra.lab import instance
    from infra.lab.twin import instance as twin

    if twin.folder(state).exists():
        await twin.down(name, state=state, progress=progress)
    if (state / "lab").exists() or os.geteuid() == 0:
        await instance.down(name, state=state, progress=progress)
