"""Runs on a site's storage host: tells what came into a campaign's folder, and reads files of it.

Sent over SSH and run as root (``pachon.drivers.staging``); needs nothing but the standard library. What is being
received has another name until it is whole, so every file that is told of is complete.
"""

import base64
import os
from pathlib import Path
from typing import Any

TOLD_ENDS = (".record", ".failed")
MOST_TOLD = 1000
MOST_BYTES = 8 << 20


def main(call: dict[str, Any]) -> dict[str, Any]:
    """What is new since a moment, or the content of files."""
    folder = Path(call["folder"]) / call["campaign"]
    if call["names"]:
        return _read(folder, call["names"])
    return _news(folder, call["since_ns"])


def _news(folder: Path, since_ns: int) -> dict[str, Any]:
    """Records that appeared after that moment, by this host's own clock, oldest first."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(TOLD_ENDS) and not entry.name.startswith("."):
                    at_ns = entry.stat(follow_symlinks=False).st_ctime_ns
                    if at_ns > since_ns and entry.is_file(follow_symlinks=False):
                        found.append((at_ns, entry.name))
    except FileNotFoundError:
        pass
    found.sort()
    told = found[:MOST_TOLD]
    documents = []
    for _, name in told:
        with (folder / name).open(encoding="utf-8") as file:
            documents.append({"name": name, "text": file.read(1 << 20)})
    return {"documents": documents, "until_ns": told[-1][0] if told else since_ns, "more": len(found) > len(told)}


def _read(folder: Path, names: list[str]) -> dict[str, Any]:
    """Contents of as many of the files as fit into one answer, at least of one; None for what is not there."""
    contents: dict[str, Any] = {}
    size = 0
    for name in names:
        try:
            descriptor = os.open(folder / Path(name).name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            contents[name] = None
            continue
        with os.fdopen(descriptor, "rb") as file:
            data = file.read()
        size += len(data)
        if contents and size > MOST_BYTES:
            break
        contents[name] = base64.b64encode(data).decode()
    return {"contents": contents}
