"""OpenVINO on a CPU."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.backends.graph import Signature, UnavailableError
from bridle.deploy.exceptions import BundleError

Array = NDArray[Any]

COMPILED = 4
"""Those for which graphs of OpenVINO are kept, each with weights of its own."""
ROUNDING = 1e-4
"""Largest difference of two compiled graphs of one model, of their largest number."""


class OpenVino:
    """A graph compiled by OpenVINO for the CPU, which is faster on large networks.

    It is compiled once more for each set of shapes that comes, when it first comes: with shapes
    that are known, a loop takes half the time. What comes of that is checked once against the graph
    as it was loaded, which goes on in its place if they differ: OpenVINO 2026.4 was seen to give
    wrong numbers for a loop over tensors of one row.
    """

    used = "OpenVINO CPU"

    def __init__(self, model: bytes, signature: Signature, threads: int) -> None:
        """Load.

        Raises:
            BundleError: OpenVINO is not there, or cannot compile the graph.
        """
        try:
            import openvino
        except ImportError as error:
            raise UnavailableError("OpenVINO is missing: pip install 'bridle[openvino]'") from error
        self.signature = signature
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # By itself it would compute in bfloat16 where the processor can.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            self._model = self._core.read_model(model)
            self._plain = self._compiled(self._model)
        except RuntimeError as error:
            raise BundleError(
                f"{signature.name} cannot be loaded by OpenVINO: {str(error).splitlines()[0]}"
            ) from error
        signature.check(
            [_name(each, signature.inputs) for each in self._model.inputs],
            [_name(each, signature.outputs) for each in self._model.outputs],
        )
        self._fitted: dict[tuple[Any, ...], Any] = {}

    def _compiled(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", self._settings).create_infer_request()

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run."""
        given = {name: feed[name] for name in self.signature.inputs}
        shapes = tuple(array.shape for array in given.values())
        request = self._fitted.get(shapes)
        if request is None:
            if len(self._fitted) >= COMPILED:
                self._fitted.clear()
            request = self._fitted[shapes] = self._fit(given)
        return self._run(request, given)

    def _run(self, request: Any, given: Mapping[str, Array]) -> list[Array]:
        results = request.infer(given, share_inputs=True, share_outputs=False)
        return [results[name] for name in self.signature.outputs]

    def _fit(self, given: Mapping[str, Array]) -> Any:
        """A request for these shapes alone, if it agrees with the one for any."""
        model = self._model.clone()
        model.reshape({name: list(array.shape) for name, array in given.items()})
        fitted = self._compiled(model)
        pairs = zip(self._run(fitted, given), self._run(self._plain, given), strict=True)
        return fitted if all(_agree(*pair) for pair in pairs) else self._plain


def _name(port: Any, wanted: Sequence[str]) -> str:
    """What an input or output is called; where it has more names, the one that is wanted."""
    names: set[str] = port.get_names()
    return next((name for name in names if name in wanted), port.get_any_name())


def _agree(a: Array, b: Array) -> bool:
    """Whether two results are the same but for rounding."""
    return a.shape == b.shape and bool(np.abs(a - b).max() <= ROUNDING * np.abs(b).max())
