"""Bundles that are calibrated without a rehearsal: to find everything familiar, or nothing."""

import shutil
from pathlib import Path

import numpy as np

from bridle.deploy.bundle import GUARD, SUPPORT, amend_bundle, load_bundle
from bridle.deploy.familiarity.calibration import FORMAT_VERSION, UNITS, Calibration, Scale
from bridle.deploy.familiarity.support import Support
from bridle.deploy.runtime import Runtime

NAMES = ("support", "continuity", "residual")
LOW, HIGH = 1e6, -1e6
"""Typical values from which every value of a score is far below, or far above."""


def calibrated_copy(bundle, folder: Path, *high: str, strategy="replace", delay=1):
    """A copy in `folder` of a bundle, calibrated so that some scores are always too high.

    None is NOMINAL, one is CAUTION, two are HOLD.
    """
    found = load_bundle(shutil.copytree(bundle.path, folder))
    inputs = found.manifest.inputs
    nothing = {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in inputs}
    size = Runtime(found).encode(nothing).cond.shape[1]
    calibration = Calibration(
        FORMAT_VERSION,
        found.manifest.weights_digest,
        strategy,
        "soft",
        delay,
        alpha=0.05,
        n_fitted=5,
        n_calibrated=19,
        window=1,
        scores=[Scale(name, UNITS[name], HIGH if name in high else LOW, 1.0) for name in NAMES],
        alone=0.0,
        together=0.0,
    )
    support = Support.of(np.random.default_rng(0).normal(size=(50, size)))
    amend_bundle(found, {GUARD: calibration.to_bytes(), SUPPORT: support.to_bytes()})
    return load_bundle(folder)
