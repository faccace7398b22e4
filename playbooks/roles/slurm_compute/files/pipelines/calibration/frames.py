"""Frames as FITS files: one image, and cards that say what it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

Frame = np.ndarray
Cards = Mapping[str, tuple[Any, str]]


def write(path: Path, frame: Frame, cards: Cards) -> None:
    """Write the frame with its cards (keyword to value and comment)."""
    unit = fits.PrimaryHDU(frame)
    for keyword, (value, comment) in cards.items():
        unit.header[keyword] = (value, comment)
    unit.writeto(path)


def read(path: Path) -> tuple[Frame, Mapping[str, Any]]:
    """The frame in single precision, with its header."""
    with fits.open(path, memmap=False) as units:
        return units[0].data.astype(np.float32), dict(units[0].header)


def stack(paths: list[Path]) -> Frame:
    """Frames of equal size on top of one another, as [frame, row, column]."""
    first, _ = read(paths[0])
    whole = np.empty((len(paths), *first.shape), dtype=first.dtype)
    for place, path in enumerate(paths):
        whole[place] = read(path)[0]
    return whole
