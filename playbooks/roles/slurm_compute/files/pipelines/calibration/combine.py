"""Combined frames: the median of what is left of each pixel's values once outliers are clipped.

The clipping is written with numpy here: importing ``astropy.stats`` takes longer than all of the arithmetic.
"""

from typing import Any

import numpy as np

from calibration import frames

SIGMA_PER_MAD = 1.4826
"""Of a normal distribution: standard deviation over median absolute deviation."""
ROWS_AT_ONCE = 16


def bias(quantum: Any) -> dict[str, Any]:
    """The combined bias, in ADU."""
    return _combine(quantum, "bias", frames.stack(quantum.inputs["raw-bias"]))


def flat(quantum: Any) -> dict[str, Any]:
    """The combined flat: one where the detector sees its average light."""
    dark, _ = frames.read(quantum.inputs["bias"][0])
    stack = frames.stack(quantum.inputs["raw-flat"])
    for place in range(len(stack)):
        stack[place] -= dark
        stack[place] /= np.median(stack[place])
    return _combine(quantum, "flat", stack)


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
    """Median over the first axis without values further than ``sigma`` from it, and how many were left out.

    Works on a few rows of all frames at a time: memory is dearer than time.
    """
    parts = [
        _clipped_median(stack[:, first : first + ROWS_AT_ONCE].astype(np.float64), sigma=sigma, rounds=rounds)
        for first in range(0, stack.shape[1], ROWS_AT_ONCE)
    ]
    return np.concatenate([part for part, _ in parts]), sum(clipped for _, clipped in parts)


def _clipped_median(values: np.ndarray, *, sigma: float, rounds: int) -> tuple[np.ndarray, int]:
    for _ in range(rounds):
        distance = np.abs(values - _middle(values))
        spread = SIGMA_PER_MAD * _middle(distance)
        # Never less than the typical spread: a few values agree by chance, and would clip the others.
        outliers = distance > sigma * np.maximum(spread, np.median(spread))
        if not outliers.any():
            break
        values[outliers] = np.nan
    return _middle(values), int(np.isnan(values).sum())


def _middle(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is a number; every pixel keeps some."""
    ordered = np.sort(values, axis=0)
    numbers = np.isfinite(values).sum(axis=0)[None]
    lower, upper = (np.take_along_axis(ordered, place // 2, axis=0)[0] for place in (numbers - 1, numbers))
    return (lower + upper) / 2
