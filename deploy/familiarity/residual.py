"""Whether the generator takes a chunk for one of its own: noise it a little, and denoise it."""

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.execution.levels import levels
from bridle.deploy.execution.served import ServedPolicy
from bridle.deploy.runtime import Encoding, Runtime

Vector = NDArray[np.float64]

DRAWS = 8
"""Noises that are averaged over. They are the same for every chunk, so that scores can be
compared, and one batch of the one-step graph."""


class Residual:
    """The error of one denoising step.

        r(x) = sqrt(mean over n, rows and joints of (x'_n - x)^2),    x'_n = step(a x + s e_n, row)

    in standard deviations of the actions, for the last row of the table, before which a chunk has
    the signal a and the noise s (`levels`). DOSER (arXiv 2605.08202) uses this error of a diffusion
    policy to tell actions outside the data.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Prepare.

        Raises:
            InferenceError: signal and noise of this generator are not known, in one line why.
        """
        # A single step would begin at nothing but noise.
        table = runtime.table(max(2, runtime.manifest.n_steps))
        self._policy, self._row = ServedPolicy(runtime), table[-1]
        self._signal, self._noise = levels(runtime.manifest.columns, table)[-2]
        manifest = runtime.manifest
        self._first, self._horizon = manifest.first_action, manifest.horizon
        shape = (DRAWS, manifest.horizon, len(manifest.joint_names))
        self._draws = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def __call__(self, encoding: Encoding, positions: Vector) -> float:
        """Score a chunk.

        Args:
            encoding: of its observation, of a batch of 1.
            positions: (rows, A) from the newest observation on [rad].

        Raises:
            InferenceError: the graph cannot run.
        """
        # Rows before the newest observation are past and not known any more; they do not count.
        index = np.maximum(np.arange(self._horizon) - self._first, 0)
        x = ((positions[index] - encoding.offset[0]) / encoding.scale).astype(np.float32)
        noisy = (self._signal * x + self._noise * self._draws).astype(np.float32)
        cond = np.repeat(encoding.cond, DRAWS, axis=0)
        denoised, _ = self._policy.step(noisy, self._row, cond)
        return float(np.sqrt(np.square(denoised - x)[:, self._first :].mean()))
