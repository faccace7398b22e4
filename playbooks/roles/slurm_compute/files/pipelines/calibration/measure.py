"""What a combined frame is like: statistics as JSON, and a picture as PNG."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from calibration import frames

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
DARKEST_PERCENT, BRIGHTEST_PERCENT = 1.0, 99.0


def combined(quantum: Any) -> dict[str, Any]:
    """Statistics of the one input, which go into the record as well."""
    (paths,) = quantum.inputs.values()
    frame, header = frames.read(paths[0])
    image = frame.astype(np.float64)
    statistics = {
        "kind": header["IMGTYPE"],
        "detector": header["DETECTOR"],
        "frames": header["NCOMBINE"],
        "clipped": header["NCLIPPED"],
        "mean": _rounded(image.mean()),
        "median": _rounded(np.median(image)),
        "deviation": _rounded(image.std()),
        "least": _rounded(image.min()),
        "most": _rounded(image.max()),
    }
    Path(quantum.outputs["json"]).write_text(json.dumps(statistics, indent=2, sort_keys=True) + "\n")
    Path(quantum.outputs["png"]).write_bytes(png(_shades(image)))
    return {"statistics": statistics}


def _rounded(value: Any) -> float:
    return float(f"{float(value):.6g}")


def _shades(image: np.ndarray) -> np.ndarray:
    """The image in 256 shades between its darkest and brightest percent, first row at the bottom."""
    darkest, brightest = np.percentile(image, [DARKEST_PERCENT, BRIGHTEST_PERCENT])
    scaled = (image - darkest) / max(float(brightest - darkest), 1e-12)
    return (np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)[::-1]


def png(shades: np.ndarray) -> bytes:
    """A grey PNG of 8 bits (ISO/IEC 15948), every row unfiltered."""
    height, width = shades.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in shades)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
