"""What runs an ONNX graph: ONNX Runtime on a CPU or a GPU, or OpenVINO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.exceptions import BundleError

Array = NDArray[Any]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Of ONNX Runtime."""
CHOICES = (*PROVIDERS, "openvino", "auto")
KEPT = 8
"""Batches and tables for which buffers are kept."""


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives."""

    name: str
    """File of the bundle."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fixed: bool = True
    """Whether the shapes of what it gives follow from those of what it takes."""

    def check(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Compare with what a loaded graph has.

        Raises:
            BundleError: it takes or gives something else.
        """
        if set(inputs) != set(self.inputs) or set(outputs) != set(self.outputs):
            raise BundleError(
                f"{self.name} takes {sorted(inputs)} and gives {sorted(outputs)}, "
                f"expected {sorted(self.inputs)} and {sorted(self.outputs)}"
            )


class Graph(Protocol):
    """A loaded graph."""

    used: str
    """What really runs it."""

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run: arrays by the names of the inputs -> arrays in the order of the outputs."""
        ...


def open_graph(model: bytes, signature: Signature, provider: str, threads: int) -> Graph:
    """Load a graph.

    Args:
        model: ONNX.
        signature: what it must take and give.
        provider: one of `CHOICES`. `auto` is a GPU if there is one that works, else the CPU.
        threads: threads within one operator.

    Raises:
        BundleError: the provider is not there, or the graph cannot be loaded.
    """
    if provider not in CHOICES:
        raise BundleError(f"provider must be one of {', '.join(CHOICES)}, got {provider!r}")
    if threads < 1:
        raise BundleError(f"threads must be at least 1, got {threads}")
    if provider == "openvino":
        return OpenVino(model, signature, threads)
    if provider != "auto":
        return OnnxRuntime(model, signature, provider, threads)
    try:
        return OnnxRuntime(model, signature, "cuda", threads)
    except _UnavailableError:
        return OnnxRuntime(model, signature, "cpu", threads)


class _UnavailableError(BundleError):
    """A provider that was asked for is not there."""


@dataclass(frozen=True)
class _Bound:
    """A binding, and the buffers it is bound to."""

    binding: Any
    inputs: Mapping[str, Array]
    outputs: Sequence[Array]


class OnnxRuntime:
    """A session of ONNX Runtime, bound once for each set of shapes to buffers that stay in place.

    A graph whose results have no fixed shapes is run without buffers.
    """

    def __init__(self, model: bytes, signature: Signature, provider: str, threads: int) -> None:
        """Load.

        Raises:
            BundleError: ONNX Runtime or the provider is not there, or the graph cannot be loaded.
        """
        ort = _onnxruntime()
        wanted = PROVIDERS[provider]
        if wanted not in ort.get_available_providers():
            raise _UnavailableError(
                f"this ONNX Runtime has no {wanted}; install 'bridle[gpu]', or choose the "
                "provider cpu"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3 if provider == "cpu" else 4
        providers = [wanted] if provider == "cpu" else [wanted, PROVIDERS["cpu"]]
        try:
            self._session = ort.InferenceSession(model, options, providers=providers)
        except Exception as error:  # ONNX Runtime raises bare pybind exceptions
            raise BundleError(
                f"{signature.name} cannot be loaded: {str(error).splitlines()[0]}"
            ) from error
        signature.check(
            [i.name for i in self._session.get_inputs()],
            [o.name for o in self._session.get_outputs()],
        )
        # It falls back to the CPU without a word.
        self.used = self._session.get_providers()[0]
        if self.used != wanted:
            raise _UnavailableError(
                f"asked for {wanted} but ONNX Runtime fell back to {self.used}; install "
                "'bridle[gpu]' with CUDA 13 and cuDNN 9, or choose the provider cpu"
            )
        self.signature = signature
        self._bound: dict[tuple[Any, ...], _Bound] = {}

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run."""
        if not self.signature.fixed:
            given = {name: feed[name] for name in self.signature.inputs}
            results: list[Array] = self._session.run(self.signature.outputs, given)
            return results
        shapes = tuple((feed[name].shape, feed[name].dtype) for name in self.signature.inputs)
        bound = self._bound.get(shapes)
        if bound is None:
            if len(self._bound) >= KEPT:
                self._bound.clear()
            bound = self._bound[shapes] = self._bind(feed)
        for name, buffer in bound.inputs.items():
            np.copyto(buffer, feed[name])
        self._session.run_with_iobinding(bound.binding)
        # Copies: the next run writes to the same places.
        return [buffer.copy() for buffer in bound.outputs]

    def _bind(self, feed: Mapping[str, Array]) -> _Bound:
        names = self.signature
        inputs = {name: np.array(feed[name], order="C") for name in names.inputs}
        outputs = self._session.run(names.outputs, inputs)
        outputs = [np.array(output, order="C") for output in outputs]
        binding = self._session.io_binding()
        for name, buffer in inputs.items():
            binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in zip(names.outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        return _Bound(binding, inputs, outputs)


class OpenVino:
    """A graph compiled by OpenVINO for the CPU, which is faster on large networks."""

    used = "OpenVINO CPU"

    def __init__(self, model: bytes, signature: Signature, threads: int) -> None:
        """Load.

        Raises:
            BundleError: OpenVINO is not there, or cannot compile the graph.
        """
        try:
            import openvino
        except ImportError as error:
            raise _UnavailableError(
                "OpenVINO is missing: pip install 'bridle[openvino]'"
            ) from error
        try:
            core = openvino.Core()
            compiled = core.compile_model(
                core.read_model(model),
                "CPU",
                {
                    "INFERENCE_NUM_THREADS": threads,
                    "PERFORMANCE_HINT": "LATENCY",
                    # By itself it would compute in bfloat16 where the processor can.
                    "INFERENCE_PRECISION_HINT": "f32",
                },
            )
        except RuntimeError as error:
            raise BundleError(
                f"{signature.name} cannot be loaded by OpenVINO: {str(error).splitlines()[0]}"
            ) from error
        signature.check(
            [i.get_any_name() for i in compiled.inputs],
            [o.get_any_name() for o in compiled.outputs],
        )
        self.signature = signature
        self._request = compiled.create_infer_request()
        self._outputs = [compiled.output(name) for name in signature.outputs]

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run."""
        given = {name: feed[name] for name in self.signature.inputs}
        results = self._request.infer(given, share_inputs=True, share_outputs=False)
        return [results[output] for output in self._outputs]


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            "ONNX Runtime is missing: pip install 'bridle[cpu]' or 'bridle[gpu]', not both"
        ) from error
    return onnxruntime
