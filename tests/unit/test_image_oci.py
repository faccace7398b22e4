"""Images of containers are the same bytes whenever they are made, and say truly what they hold."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from infra.image import oci

PAUSE = oci.Container(name="pachon.local/pause:1", files={"bin/b": b"bb", "a": b"a"}, command=("/a", "for", "ever"))


def contents(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        read = {entry.name: opened.extractfile(entry) for entry in opened.getmembers() if entry.isfile()}
        return {name: stream.read() for name, stream in read.items() if stream}


def named(blob: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """What a descriptor names, once its digest and size are seen to be right."""
    content = files[f"blobs/{blob['digest'].replace(':', '/')}"]
    assert (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content)) == (blob["digest"], blob["size"])
    return content


def test_two_builds_of_one_content_are_one_image(tmp_path: Path) -> None:
    digests = [oci.write(PAUSE, tmp_path / name) for name in ("one", "two")]
    assert digests[0] == digests[1]
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_content_is_another_image(tmp_path: Path) -> None:
    other = oci.Container(name=PAUSE.name, files={"a": b"A"}, command=PAUSE.command)
    assert oci.write(PAUSE, tmp_path / "one") != oci.write(other, tmp_path / "two")


def test_every_digest_in_an_archive_is_that_of_what_it_names(tmp_path: Path) -> None:
    digest = oci.write(PAUSE, tmp_path / "image.tar")
    files = contents((tmp_path / "image.tar").read_bytes())
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["digest"] == digest
    assert entry["annotations"]["io.containerd.image.name"] == PAUSE.name
    manifest = json.loads(named(entry, files))
    config = json.loads(named(manifest["config"], files))
    layer = gzip.decompress(named(manifest["layers"][0], files))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/a", "for", "ever"]
    assert contents(layer) == PAUSE.files
