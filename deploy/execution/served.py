"""The policy of a bundle as something that can be guided."""

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution.guidance import Array, Encoded, Observation
from bridle.deploy.runtime import Runtime

COLUMNS = {
    "flow": ("t", "dt"),
    "shortcut": ("t", "dt"),
    "energy": ("share", "t", "momentum"),
    "diffusion": ("time", "p", "q", "clip", "a", "b", "c", "f", "std"),
}
"""Columns of the tables of the generators that can be guided (see `levels`)."""


class ServedPolicy:
    """A `OneStep` around the encoder and the one-step graph of a bundle."""

    def __init__(self, runtime: Runtime) -> None:
        """Wrap a runtime.

        Raises:
            InferenceError: the generator is none that can be guided, or a step of it remembers more
                than the present chunk.
        """
        manifest = runtime.manifest
        if manifest.generator not in COLUMNS or manifest.memory:
            what = f"a {manifest.generator}" + (" with memory" if manifest.memory else "")
            raise InferenceError(
                f"{what} cannot be guided: {', '.join(COLUMNS)} can, without momentum or DPM-Solver"
            )
        self._runtime = runtime
        self.columns = COLUMNS[manifest.generator]

    def encode(self, observation: Observation) -> Encoded:
        """See `Runtime.encode`."""
        return self._runtime.encode(observation)

    def step(self, x: Array, row: Array, cond: Array) -> tuple[Array, Array]:
        """See `Runtime.step`."""
        return self._runtime.step(x, row, cond)

    def table(self, n_steps: int | None = None) -> Array:
        """See `Runtime.table`."""
        return self._runtime.table(n_steps)
