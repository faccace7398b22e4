"""Combined frames: the median of what is left of each pixel's values once outliers are clipped.

The clipping is written with numpy here: importing ``astropy.stats`` takes longer than all of the arithmetic.
"""

from typing import Any

import numpy as np

from calibration import frames

SIGMA_PER_MAD = 1.4826
"""Of a normal distribution: standard deviation over median absolute deviation."""
"""Never less than the whole stack's typical one is taken: a few values agree by chance, and would clip the others."""


def bias(quantum: Any) -> dict[str, Any]:
    """The combined bias, in ADU."""
    return _combine(quantum, "bias", frames.stack(quantum.inputs["raw-bias"]))


def flat(quantum: Any) -> dict[str, Any]:
    """The combined flat: one where the detector sees its average light."""
    dark, _ = frames.read(quantum.inputs["bias"][0])
    lit = frames.stack(quantum.inputs["raw-flat"]) - dark
    return _combine(quantum, "flat", lit / np.median(lit, axis=(1, 2), keepdims=True))


def _combine(quantum: Any, kind: str, stack: np.ndarray) -> dict[str, Any]:
    settings = quantum.settings
    combined, clipped = clipped_median(stack, sigma=settings["clip_sigma"], rounds=settings["clip_rounds"])
    cards = {
        "IMGTYPE": (kind, "combined from this kind of exposures"),
        "DETECTOR": (quantum.data_id["detector"], "number of the detector"),
        "NCOMBINE": (len(stack), "frames combined"),
        "NCLIPPED": (clipped, "values thrown out as outliers"),
    }
    frames.write(quantum.outputs["fits"], combined.astype(np.float32), cards)
    return {"frames": len(stack), "clipped": clipped}


def clipped_median(stack: np.ndarray, *, sigma: float, rounds: int) -> tuple[np.ndarray, int]:
    """Median over the first axis without values further than ``sigma`` from it, and how many were left out."""
    values = stack.copy()
    for _ in range(rounds):
        middle = np.nanmedian(values, axis=0)
        distance = np.abs(values - middle)
        spread = SIGMA_PER_MAD * np.nanmedian(distance, axis=0)
        limit = sigma * np.maximum(spread, np.median(spread))
        outliers = distance > limit
        if not outliers.any():
            break
        values[outliers] = np.nan
    return np.nanmedian(values, axis=0), int(np.isnan(values).sum())
