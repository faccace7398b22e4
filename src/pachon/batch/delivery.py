"""Products and the report in the facility's state folder: fetched, checked against their records, put down whole."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pachon.batch import picture
from pachon.batch.campaign import Campaign, Quantum
from pachon.batch.markdown import markdown
from pachon.batch.products import ProductRecord
from pachon.batch.report import CampaignReport
from pachon.drivers.staging import Staging
from pachon.errors import PermanentError
from pachon.model.campaigns import QuantumRecord

PICTURE = "png"


def folder_of(state: Path, campaign: str) -> Path:
    """Where a campaign's products and report are put."""
    return state / "campaigns" / campaign


async def fetch(
    campaign: Campaign, quanta: Iterable[Quantum], records: Mapping[str, QuantumRecord], staging: Staging, folder: Path
) -> int:
    """Number of files fetched: products that are to be delivered, are done, and are not in the folder yet.

    Raises:
        PermanentError: a file is gone from the store, or is not what its record says.
    """
    wanted = missing(campaign, quanta, records, folder)
    contents = await staging.read(list(wanted)) if wanted else {}
    for name, (target, sha256) in wanted.items():
        data = contents.get(name)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            raise PermanentError(
                f"the product {name} of {campaign.name} is {'gone' if data is None else 'not what its record says'}",
                cure="look at the site's storage host; 'pachon campaign resume' makes it again",
            )
        put(target, data)
    return len(wanted)


def missing(
    campaign: Campaign, quanta: Iterable[Quantum], records: Mapping[str, QuantumRecord], folder: Path
) -> dict[str, tuple[Path, str]]:
    """What is to be delivered and is not in the folder: where each file of the store belongs, and its digest."""
    wanted: dict[str, tuple[Path, str]] = {}
    for quantum in quanta:
        known = records.get(quantum.key)
        if not campaign.pipeline.task_by_name[quantum.task].deliver or known is None or known.product is None:
            continue
        for file in ProductRecord.model_validate(known.product).products:
            target = folder / _name(quantum, file.name.rpartition(".")[2])
            if not _is_there(target, file.sha256):
                wanted[file.name] = (target, file.sha256)
    return wanted


def _name(quantum: Quantum, end: str) -> str:
    return "-".join([quantum.task, *(f"{name}-{number:03d}" for name, number in quantum.data_id.items())]) + f".{end}"


def _is_there(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def put(path: Path, data: bytes) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)


def picture_names(campaign: Campaign) -> dict[str, str]:
    """File name of the picture of all detectors, with the task whose pictures it is put together from."""
    return {
        f"{task.name}.{PICTURE}": task.name
        for task in campaign.pipeline.tasks
        if task.deliver and task.per == "detector" and PICTURE in task.products
    }


def pictures(campaign: Campaign, folder: Path) -> list[str]:
    """Paths of these pictures, put together from the parts that are there."""
    made = []
    for name, task in picture_names(campaign).items():
        own = [quantum for quantum in campaign.quanta if quantum.task == task]
        paths = [folder / _name(quantum, PICTURE) for quantum in sorted(own, key=lambda each: each.data_id["detector"])]
        parts = [picture.read(path.read_bytes()) for path in paths if path.is_file()]
        if parts:
            put(folder / name, picture.write(picture.mosaic(parts)))
            made.append(str(folder / name))
    return made


def put_report(report: CampaignReport, folder: Path) -> None:
    """Write the report, for programs and for people."""
    put(folder / "report.json", (report.model_dump_json(indent=2) + "\n").encode())
    put(folder / "report.md", markdown(report).encode())
