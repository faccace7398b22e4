"""Runs the quanta of one array task: stages input in, runs each task, stages products out.

Its orders come on standard input as JSON (``pachon.batch.orders`` writes them). A quantum whose record is in the store
is not run again. Data files go first and the record last, each under another name until it is whole, so a product is
there entirely or not at all. What fails is told in a file of its own beside the records; the others go on.
"""

import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PIPELINES = Path(__file__).resolve().parent
RSYNC = "/usr/bin/rsync"
RSYNC_SECONDS = 600
SEND_SECONDS = 10.0
"""Finished products wait at most about so long for others that go with them."""
TEXT_CHARACTERS = 4000

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")


class StagingError(Exception):
    """Files did not come or go."""


class SoftwareError(Exception):
    """The image of this worker holds other software than the campaign asks for."""


@dataclass(frozen=True)
class Quantum:
    """What a task's function is given."""

    data_id: dict[str, int]
    seed: int
    settings: dict[str, Any]
    inputs: dict[str, list[Path]]
    """By name of the task that made them, in the order of exposures."""
    outputs: dict[str, Path]
    """By kind of product, such as ``fits``."""


@dataclass
class Store:
    """A campaign's folder at the site's storage host, spoken to by rsync."""

    module: str
    """Address of the daemon's module, with a slash at its end."""
    campaign: str
    """Its folder in the module; made by whoever sends first."""
    password_file: str
    folder: Path
    """What was fetched and what is made."""

    def fetch(self, names: list[str]) -> None:
        """Copy those of the files here that exist there."""
        if names:
            wanted = [f"{self.campaign}/{name}" for name in names]
            self._rsync(["--ignore-missing-args", self.module, str(self.folder.parent)], wanted)

    def send(self, names: list[str]) -> None:
        """Copy files there; what is there already stays."""
        if names:
            target = f"{self.module}{self.campaign}/"
            self._rsync(["--ignore-existing", "--mkpath", str(self.folder), target], names)

    def _rsync(self, arguments: list[str], names: list[str]) -> None:
        fixed = [RSYNC, "--times", "--contimeout=20", "--timeout=60", "--chmod=F644"]
        command = [*fixed, f"--password-file={self.password_file}", "--files-from=-", *arguments]
        for attempt in (1, 2, 3):
            done = subprocess.run(
                command,
                input="".join(f"{name}\n" for name in names),
                capture_output=True,
                text=True,
                timeout=RSYNC_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                return
            time.sleep(attempt)
        raise StagingError(f"rsync ended with {done.returncode}: {done.stderr.strip()[-TEXT_CHARACTERS:]}")


@dataclass
class Job:
    """The quanta of one array task."""

    orders: dict[str, Any]
    quanta: list[dict[str, Any]]
    store: Store
    unsent: list[tuple[list[str], str]] = field(default_factory=list)
    """Names of data files, and of the record that makes them count."""
    sent_at: float = field(default_factory=time.monotonic)
    failed: int = 0

    def run(self) -> int:
        """Exit status: 0, or 1 when a quantum failed."""
        own = {quantum["key"] for quantum in self.quanta}
        records = [f"{quantum['key']}.record" for quantum in self.quanta]
        inputs = {
            name
            for quantum in self.quanta
            for names in quantum["inputs"].values()
            for name in names
            if name.partition(".")[0] not in own
        }
        self.store.fetch(records + sorted(inputs))
        missing = [quantum for quantum in self.quanta if not self._has(f"{quantum['key']}.record")]
        there = {quantum["key"] for quantum in self.quanta} - {quantum["key"] for quantum in missing}
        needed = {
            name
            for quantum in missing
            for names in quantum["inputs"].values()
            for name in names
            if name.partition(".")[0] in there
        }
        self.store.fetch(sorted(needed))
        for quantum in missing:
            self._attempt(quantum)
            if time.monotonic() - self.sent_at > SEND_SECONDS:
                self._send()
        self._send()
        return 1 if self.failed else 0

    def _has(self, name: str) -> bool:
        return (self.store.folder / name).is_file()

    def _attempt(self, quantum: dict[str, Any]) -> None:
        began, clock = datetime.now(UTC), time.monotonic()
        try:
            record = self._record(quantum, _call(quantum, self.store.folder, self.orders["pipeline"]))
        except Exception as error:  # whatever it is, it is told and the others go on
            self.failed += 1
            name = f"{quantum['key']}.{self.orders['token']}.failed"
            told = {
                "key": quantum["key"],
                "token": self.orders["token"],
                "host": platform.node(),
                "error": f"{type(error).__name__}: {error}"[:TEXT_CHARACTERS],
                "trace": traceback.format_exc()[-TEXT_CHARACTERS:],
            }
            (self.store.folder / name).write_text(json.dumps(told))
            self.unsent.append(([], name))
            return
        record["started_at"] = began.isoformat(timespec="milliseconds")
        record["seconds"] = round(time.monotonic() - clock, 3)
        name = f"{quantum['key']}.record"
        (self.store.folder / name).write_text(json.dumps(record, sort_keys=True))
        self.unsent.append(([product["name"] for product in record["products"]], name))

    def _record(self, quantum: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
        folder, environment = self.store.folder, os.environ
        return {
            "key": quantum["key"],
            "task": quantum["task"],
            "data_id": quantum["data_id"],
            "seed": quantum["seed"],
            "products": [_described(folder / f"{quantum['key']}.{kind}") for kind in quantum["products"]],
            "inputs": [_described(folder / name) for names in quantum["inputs"].values() for name in names],
            "facts": facts,
            "host": platform.node(),
            "token": self.orders["token"],
            "job_id": int(environment.get("SLURM_ARRAY_JOB_ID", "0")),
            "task_index": int(environment.get("SLURM_ARRAY_TASK_ID", "0")),
            "restarts": int(environment.get("SLURM_RESTART_COUNT", "0")),
            "software": _versions(self.orders["pipeline"]),
            "host_stamp": _stamp(),
        }

    def _send(self) -> None:
        self.store.send([name for names, _ in self.unsent for name in names])
        self.store.send([record for _, record in self.unsent])
        self.unsent, self.sent_at = [], time.monotonic()


def _call(quantum: dict[str, Any], folder: Path, pipeline: dict[str, str]) -> dict[str, Any]:
    """What the task's function answered."""
    if digest_of(PIPELINES / pipeline["name"]) != pipeline["software"]:
        raise SoftwareError(f"this worker's {pipeline['name']} is not what {pipeline['version']} was released as")
    module, _, function = quantum["call"].partition(":")
    inputs = {task: [folder / name for name in names] for task, names in quantum["inputs"].items()}
    for path in (path for paths in inputs.values() for path in paths):
        if not path.is_file():
            raise StagingError(f"the input {path.name} is not in the store")
    outputs = {kind: folder / f"{quantum['key']}.{kind}" for kind in quantum["products"]}
    for path in outputs.values():
        path.unlink(missing_ok=True)
    task = getattr(importlib.import_module(f"{pipeline['name']}.{module}"), function)
    return dict(
        task(
            Quantum(
                data_id=quantum["data_id"],
                seed=quantum["seed"],
                settings=quantum["settings"],
                inputs=inputs,
                outputs=outputs,
            )
        )
    )


def _described(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _versions(pipeline: dict[str, str]) -> dict[str, str]:
    """What ran: the pipeline as released, and the libraries that it loaded."""
    libraries = {name: getattr(sys.modules.get(name), "__version__", "") for name in ("astropy", "numpy")}
    return {
        "pipeline": f"{pipeline['name']} {pipeline['version']}",
        "pipeline_sha256": pipeline["software"],
        "python": platform.python_version(),
        **{name: version for name, version in libraries.items() if version},
    }


def _stamp() -> str:
    """Which host this is, as it was deployed: address and generation."""
    try:
        stamp = json.loads(Path("/etc/pachon/stamp.json").read_text())
        return f"{stamp['address']}@{stamp['generation']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def digest_of(folder: Path) -> str:
    """SHA-256 over names and content of the modules of a pipeline."""
    seen = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        seen.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return seen.hexdigest()


def main() -> int:
    """Run the quanta that fall to this array task."""
    orders = json.load(sys.stdin)
    store = orders["store"]
    sys.path.insert(0, str(PIPELINES))
    quanta = orders["jobs"][int(os.environ["SLURM_ARRAY_TASK_ID"])]
    with tempfile.TemporaryDirectory(prefix="pachon-") as folder:
        here = Path(folder) / store["campaign"]
        here.mkdir()
        own = Store(store["module"], store["campaign"], store["password_file"], here)
        return Job(orders, quanta, own).run()


if __name__ == "__main__":
    sys.exit(main())
