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
COMPILED = 4
"""Those for which graphs of OpenVINO are kept, each with weights of its own."""
ROUNDING = 1e-4
"""Largest difference of two compiled graphs of one model, of their largest number."""


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives."""

    name: str
    """File of the bundle."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fixed: bool = True
    """Whether the shapes of what it gives follow from those of what it takes."""
    repeated: bool = False
    """Whether it is run many times for one result, so that a GPU had better record it."""
    half: bool = False
    """Whether there is float16 in it."""

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


@dataclass(frozen=True)
class Resident:
    """A graph bound to places on its device."""

    session: Any
    binding: Any
    options: Any

    def run(self) -> None:
        """Compute from what is at its places to its places. It is done when this returns."""
        self.session.run_with_iobinding(self.binding, self.options)


class OnnxRuntime:
    """A session of ONNX Runtime, bound once for each set of shapes to buffers that stay in place.

    A graph whose results have no fixed shapes is run without buffers. One that is run repeatedly
    can be bound to places on a GPU (`bind_resident`), where it is recorded as a CUDA graph:
    https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
    """

    def __init__(self, model: bytes, signature: Signature, provider: str, threads: int) -> None:
        """Load.

        Raises:
            BundleError: ONNX Runtime or the provider is not there, or the graph cannot be loaded.
        """
        self._ort = ort = _onnxruntime()
        wanted = PROVIDERS[provider]
        if wanted not in ort.get_available_providers():
            raise _UnavailableError(
                f"this ONNX Runtime has no {wanted}; install 'bridle[gpu]', or choose the "
                "provider cpu"
            )
        self.signature = signature
        self.records = provider == "cuda" and signature.repeated
        """Whether it can be recorded as CUDA graphs."""
        try:
            self._session = self._open(model, provider, threads)
        except Exception as error:
            # It refuses to record a graph of which it keeps a part on the CPU; that can still run.
            if not self.records:
                raise _cannot_load(signature, error) from error
            self.records = False
            try:
                self._session = self._open(model, provider, threads)
            except Exception as again:
                raise _cannot_load(signature, again) from again
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
        self.device = "cpu" if provider == "cpu" else "cuda"
        self._recorded = 0
        self._bound: dict[tuple[Any, ...], _Bound] = {}
        # Where recording is on, a run that names no graph of its own would record one.
        self._plain = self._run_options(-1) if self.records else None

    def _open(self, model: bytes, provider: str, threads: int) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3 if provider == "cpu" else 4
        if self.signature.half and provider == "cpu":
            # The last level lays convolutions out anew, and breaks on those in float16.
            levels = self._ort.GraphOptimizationLevel
            options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
        own = {"enable_cuda_graph": "1"} if self.records else {}
        providers = [(PROVIDERS[provider], own)]
        if provider != "cpu":
            providers.append((PROVIDERS["cpu"], {}))
        return self._ort.InferenceSession(model, options, providers=providers)

    def __call__(self, feed: Mapping[str, Array]) -> list[Array]:
        """Run."""
        if not self.signature.fixed:
            given = {name: feed[name] for name in self.signature.inputs}
            results: list[Array] = self._session.run(self.signature.outputs, given, self._plain)
            return results
        shapes = tuple((feed[name].shape, feed[name].dtype) for name in self.signature.inputs)
        bound = self._bound.get(shapes)
        if bound is None:
            if len(self._bound) >= KEPT:
                self._bound.clear()
            bound = self._bound[shapes] = self._bind(feed)
        for name, buffer in bound.inputs.items():
            np.copyto(buffer, feed[name])
        self._session.run_with_iobinding(bound.binding, self._plain)
        # Copies: the next run writes to the same places.
        return [buffer.copy() for buffer in bound.outputs]

    def _bind(self, feed: Mapping[str, Array]) -> _Bound:
        names = self.signature
        inputs = {name: np.array(feed[name], order="C") for name in names.inputs}
        outputs = self._session.run(names.outputs, inputs, self._plain)
        outputs = [np.array(output, order="C") for output in outputs]
        binding = self._session.io_binding()
        for name, buffer in inputs.items():
            binding.bind_input(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        for name, buffer in zip(names.outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)
        return _Bound(binding, inputs, outputs)

    def resident(self, values: Array) -> Any:
        """A place on the device, an `onnxruntime.OrtValue`, that holds a copy of an array."""
        return self._ort.OrtValue.ortvalue_from_numpy(values.copy(), self.device, 0)

    def bind_resident(
        self, given: Mapping[str, Any], wanted: Mapping[str, Any], *, record: bool
    ) -> Resident:
        """Bind every input and output to a place of its own.

        Args:
            given: name of an input -> place.
            wanted: name of an output -> place.
            record: whether the first run shall be recorded, where that is possible, for the others
                to be replays of it. The session keeps what is recorded for as long as it lives.
        """
        binding = self._session.io_binding()
        for name, place in given.items():
            binding.bind_ortvalue_input(name, place)
        for name, place in wanted.items():
            binding.bind_ortvalue_output(name, place)
        options = self._plain
        if self.records and record:
            # A recording has the addresses in it, so it has a number of its own; 0 is taken.
            self._recorded += 1
            options = self._run_options(self._recorded)
        return Resident(self._session, binding, options)

    def _run_options(self, graph: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options


def _cannot_load(signature: Signature, error: Exception) -> BundleError:
    """ONNX Runtime raises bare pybind exceptions."""
    return BundleError(f"{signature.name} cannot be loaded: {str(error).splitlines()[0]}")


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
            raise _UnavailableError(
                "OpenVINO is missing: pip install 'bridle[openvino]'"
            ) from error
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


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            "ONNX Runtime is missing: pip install 'bridle[cpu]' or 'bridle[gpu]', not both"
        ) from error
    return onnxruntime
