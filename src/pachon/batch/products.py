"""What workers write beside their products, as types: files that are not as they should be count as not there."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pachon.batch.campaign import Key
from pachon.drivers.staging import Document

RECORD, FAILED = ".record", ".failed"


class _Told(BaseModel):
    """Later workers may tell more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class File(_Told):
    """One file of the store."""

    name: str
    bytes: int
    sha256: str


class ProductRecord(_Told):
    """What made a product, and of what."""

    key: str
    task: str
    data_id: dict[str, int]
    seed: int
    products: tuple[File, ...]
    inputs: tuple[File, ...]
    facts: dict[str, Any]
    host: str
    host_stamp: str = ""
    token: str
    job_id: int
    task_index: int
    restarts: int
    software: dict[str, str]
    started_at: str
    seconds: float


class Failure(_Told):
    """Why a quantum failed on a worker."""

    key: str
    token: str
    host: str
    error: str


def read(documents: Iterable[Document]) -> tuple[dict[Key, dict[str, Any]], dict[tuple[Key, str], str]]:
    """Records by key, and what failed by key and token."""
    products: dict[Key, dict[str, Any]] = {}
    failures: dict[tuple[Key, str], str] = {}
    for document in documents:
        try:
            content = json.loads(document.text)
            if document.name.endswith(RECORD):
                record = ProductRecord.model_validate(content)
                if document.name == f"{record.key}{RECORD}":
                    products[record.key] = record.model_dump(mode="json")
            elif document.name.endswith(FAILED):
                failure = Failure.model_validate(content)
                failures[failure.key, failure.token] = f"{failure.host}: {failure.error}"
        except (ValueError, ValidationError):
            continue
    return products, failures
