"""Raw frames, generated: the detector's own pattern, light, noise, and what a combination has to throw out."""

from typing import Any

import numpy as np

from calibration import frames

STRUCK_PER_FRAME = 12
"""Pixels that a particle hits in one exposure."""
STRUCK_ADU = 15_000.0
SATURATED_ADU = 65_535


def bias(quantum: Any) -> dict[str, Any]:
    """A frame without light."""
    return _expose(quantum, "bias", light_adu=0.0)


def flat(quantum: Any) -> dict[str, Any]:
    """A frame of an even light, through the vignetting of the optics and the unequal response of the pixels."""
    return _expose(quantum, "flat", light_adu=float(quantum.settings["light_adu"]))


def _expose(quantum: Any, kind: str, *, light_adu: float) -> dict[str, Any]:
    settings, data_id = quantum.settings, quantum.data_id
    detector, exposure, seed = data_id["detector"], data_id["exposure"], quantum.seed
    shape = (settings["rows"], settings["columns"])
    own = np.random.default_rng([seed, detector])
    chance = np.random.default_rng([seed, detector, exposure])
    columns_adu = own.normal(0.0, 3.0, shape[1])
    response = own.normal(1.0, 0.01, shape)
    level_adu = settings["level_adu"] + 10.0 * detector
    frame = level_adu + columns_adu + chance.normal(0.0, settings["read_noise_adu"], shape)
    if light_adu:
        frame = frame + chance.poisson(light_adu * _vignetting(shape) * response)
    struck = chance.integers(0, frame.size, STRUCK_PER_FRAME)
    frame.reshape(-1)[struck] += STRUCK_ADU
    cards = {
        "IMGTYPE": (kind, "kind of exposure"),
        "DETECTOR": (detector, "number of the detector"),
        "EXPOSURE": (exposure, "number of the exposure"),
        "SEED": (seed, "of the generator, with detector and exposure"),
    }
    frames.write(quantum.outputs["fits"], np.clip(np.rint(frame), 0, SATURATED_ADU).astype(np.uint16), cards)
    return {}


def _vignetting(shape: tuple[int, int]) -> np.ndarray:
    """Light that reaches each pixel, one in the middle."""
    rows, columns = (np.linspace(-1.0, 1.0, size) for size in shape)
    return 1.0 - 0.12 * (rows[:, None] ** 2 + columns[None, :] ** 2)
