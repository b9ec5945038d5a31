"""The policy of a bundle as something that can be guided."""

from bridle.deploy.exceptions import InferenceError
from bridle.deploy.execution.guidance import Array, Encoded, Observation
from bridle.deploy.execution.levels import levels
from bridle.deploy.runtime import Runtime


class ServedPolicy:
    """A `OneStep` around the encoder and the one-step graph of a bundle."""

    def __init__(self, runtime: Runtime) -> None:
        """Wrap a runtime.

        Raises:
            InferenceError: the generator is none that can be guided, or a step of it remembers more
                than the present chunk.
        """
        manifest = runtime.manifest
        if manifest.memory:
            raise InferenceError(
                f"a {manifest.generator} with memory cannot be guided; it can without momentum or "
                "DPM-Solver"
            )
        self._runtime = runtime
        self.columns = tuple(manifest.columns)
        # The longest table, to refuse here what `levels` would refuse at the first chunk.
        levels(self.columns, runtime.table(max(runtime.tables)))

    def encode(self, observation: Observation) -> Encoded:
        """See `Runtime.encode`."""
        return self._runtime.encode(observation)

    def step(self, x: Array, row: Array, cond: Array) -> tuple[Array, Array]:
        """See `Runtime.step`."""
        return self._runtime.step(x, row, cond)

    def table(self, n_steps: int | None = None) -> Array:
        """See `Runtime.table`."""
        return self._runtime.table(n_steps)
