"""ONNX Runtime, on a CPU or a GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.backends.graph import KEPT, Signature, UnavailableError
from bridle.deploy.exceptions import BundleError

Array = NDArray[Any]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""Of ONNX Runtime."""


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
            raise UnavailableError(
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
            raise UnavailableError(
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
        session = self._ort.InferenceSession(model, options, providers=providers)
        # Otherwise a run that fails would go over to the CPU, and the file would stay in memory.
        session.disable_fallback()
        session._model_bytes = None
        return session

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


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            "ONNX Runtime is missing: pip install 'bridle[cpu]' or 'bridle[gpu]', not both"
        ) from error
    return onnxruntime
