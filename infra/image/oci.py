"""Writes images of containers, the same bytes for the same content: no build tool, no registry and no clock.

An archive is an OCI image layout in tar, which ``ctr images import`` and ``skopeo`` take. Its one layer is packed in
gzip, which every runtime reads.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CREATED = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Container:
    """What an image holds and runs."""

    name: str
    """With a tag, as in ``pachon.local/pause:1``."""
    files: Mapping[str, bytes]
    """Content of each executable file by its path without a leading slash."""
    command: Sequence[str]
    user: str = "65534:65534"


def write(container: Container, target: Path) -> str:
    """``sha256:<hex>`` of the manifest, by which a cluster may name the image; the archive lies at ``target``."""
    layer = _tar({path: (content, 0o755) for path, content in container.files.items()})
    packed = gzip.compress(layer, compresslevel=6, mtime=0)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {"Entrypoint": [*container.command], "User": container.user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(CONFIG, config),
            "layers": [_described(LAYER, packed)],
        }
    )
    names = {"io.containerd.image.name": container.name, "org.opencontainers.image.ref.name": container.name}
    index = _json({"schemaVersion": 2, "manifests": [{**_described(MANIFEST, manifest), "annotations": names}]})
    blobs = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": (blob, 0o644) for blob in (packed, config, manifest)}
    layout = _json({"imageLayoutVersion": "1.0.0"})
    target.write_bytes(_tar({**blobs, "index.json": (index, 0o644), "oci-layout": (layout, 0o644)}))
    return _digest(manifest)


def _described(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Files, and the folders that they lie in, of nobody in particular and of no time."""
    folders = sorted({str(parent) for path in files for parent in Path(path).parents if parent.name})
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in folders:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path in sorted(files):
            content, mode = files[path]
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()
