"""Runs a bundle with ONNX Runtime: observations in, an action chunk out. No PyTorch."""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy import bundle as files
from bridle.deploy.bundle import Bundle
from bridle.deploy.exceptions import BundleError, InferenceError

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}


@dataclass(frozen=True)
class Inference:
    """What one inference gave."""

    chunk: NDArray[np.float32]
    """(B, H, A) absolute joint positions [rad]; row `first_action` is the present."""
    score: NDArray[np.float32]
    """(B,) the generator's score of the last step; a flow's is its mean squared velocity."""
    seconds: float


class Runtime:
    """The policy of a verified bundle.

    The tables in the bundle, one per number of steps, are the generator's own: no time grid is
    computed here. On the CPU the whole sampler runs as one graph; on a GPU the one-step graph is
    walked along the table from here, because CUDA graphs cannot hold control flow.
    """

    def __init__(
        self, bundle: Bundle, provider: str = "cpu", threads: int = 1, *, walk: bool | None = None
    ) -> None:
        """Load the graphs.

        Args:
            bundle: a verified bundle.
            provider: `cpu` or `cuda`.
            threads: threads within one operator; more than one rarely pays for small networks.
            walk: whether to walk the one-step graph from here; by default only on a GPU.

        Raises:
            BundleError: the provider is not available or a graph cannot be loaded.
        """
        ort = _onnxruntime()
        if provider not in PROVIDERS:
            raise BundleError(f"provider must be one of {', '.join(PROVIDERS)}, got {provider!r}")
        if threads < 1:
            raise BundleError(f"threads must be at least 1, got {threads}")
        self.manifest = bundle.manifest
        self.provider = provider
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._options = options
        self.tables = _tables(bundle.contents[files.TABLE])
        self._walk = provider != "cpu" if walk is None else walk
        keys = tuple(spec.name for spec in self.manifest.inputs)
        self._graphs = {
            files.POLICY: ((*keys, "noise", "table"), ("chunk", "score")),
            files.ENCODER: (keys, ("cond", "offset", "scale")),
            files.STEP: (("x", "row", "cond"), ("next", "score")),
        }
        names = (files.ENCODER, files.STEP) if self._walk else (files.POLICY,)
        self._sessions = {name: self._session(ort, bundle.contents[name], name) for name in names}
        self._inputs = {spec.name: tuple(spec.shape[1:]) for spec in self.manifest.inputs}
        self._chunk_shape = (self.manifest.horizon, len(self.manifest.joint_names))

    def _session(self, ort: Any, model: bytes, name: str) -> Any:
        wanted = PROVIDERS[self.provider]
        try:
            session = ort.InferenceSession(model, self._options, providers=list(wanted))
        except Exception as error:  # ONNX Runtime raises bare pybind exceptions
            raise BundleError(f"{name} cannot be loaded: {str(error).splitlines()[0]}") from error
        inputs, outputs = self._graphs[name]
        found = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
        if found != (set(inputs), set(outputs)):
            raise BundleError(
                f"{name} takes {sorted(found[0])} and gives {sorted(found[1])}, "
                f"expected {sorted(inputs)} and {sorted(outputs)}"
            )
        used = session.get_providers()[0]
        if used != wanted[0]:
            raise BundleError(
                f"asked for {wanted[0]} but ONNX Runtime fell back to {used}; install "
                "'bridle[gpu]' with CUDA 13 and cuDNN 9, or choose the provider cpu"
            )
        return session

    def infer(
        self,
        observation: Mapping[str, NDArray[np.floating[Any]]],
        noise: NDArray[np.float32],
        n_steps: int | None = None,
    ) -> Inference:
        """Generate chunks.

        Args:
            observation: every input of the manifest, (B, To, d), physical units.
            noise: (B, H, A) standard normal.
            n_steps: steps of the sampler; None takes the one the policy was trained for.

        Raises:
            InferenceError: a key is missing, a shape is wrong, or a number is not finite.
        """
        began = time.perf_counter()
        feed = self._checked(observation, noise)
        steps = self.manifest.n_steps if n_steps is None else n_steps
        if steps not in self.tables:
            offered = ", ".join(map(str, sorted(self.tables)))
            raise InferenceError(f"the bundle has tables of {offered} steps, not {steps}")
        table = self.tables[steps]
        try:
            if self._walk:
                chunk, score = self._walk_table(feed, noise, table)
            else:
                session, feed = (
                    self._sessions[files.POLICY],
                    feed | {"noise": noise, "table": table},
                )
                chunk, score = session.run(("chunk", "score"), feed)
        except Exception as error:  # ONNX Runtime raises bare pybind exceptions
            raise InferenceError(f"the graph cannot run: {str(error).splitlines()[0]}") from error
        if chunk.shape != noise.shape:
            raise InferenceError(f"the graph gave a chunk {chunk.shape}, expected {noise.shape}")
        if not np.isfinite(chunk).all():
            raise InferenceError("the policy gave numbers that are not finite")
        return Inference(chunk, score, time.perf_counter() - began)

    def _walk_table(
        self, feed: dict[str, NDArray[np.float32]], noise: NDArray[np.float32], table: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        encoder, step = self._sessions[files.ENCODER], self._sessions[files.STEP]
        cond, offset, scale = encoder.run(("cond", "offset", "scale"), feed)
        x, score = noise, np.zeros(len(noise), np.float32)
        for row in table:
            x, score = step.run(("next", "score"), {"x": x, "row": row, "cond": cond})
        return offset + scale * x, score

    def _checked(
        self, observation: Mapping[str, NDArray[np.floating[Any]]], noise: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        batch = noise.shape[0] if noise.ndim == 3 else -1
        if noise.shape != (batch, *self._chunk_shape) or noise.dtype != np.float32:
            raise InferenceError(
                f"noise must be float32 (B, {self._chunk_shape[0]}, {self._chunk_shape[1]}), "
                f"got {noise.dtype} {noise.shape}"
            )
        feed = {}
        for name, shape in self._inputs.items():
            if name not in observation:
                raise InferenceError(f"observation '{name}' is missing")
            value = np.asarray(observation[name], np.float32)
            if value.shape != (batch, *shape):
                raise InferenceError(
                    f"observation '{name}' must be {(batch, *shape)}, got {value.shape}"
                )
            if not np.isfinite(value).all():
                raise InferenceError(f"observation '{name}' has numbers that are not finite")
            feed[name] = value
        return feed


def _tables(data: bytes) -> dict[int, NDArray[np.float32]]:
    """Number of steps -> rows (steps, columns)."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            tables = {int(steps): np.asarray(content[steps], np.float32) for steps in content.files}
    except Exception as error:  # numpy and zipfile each raise their own
        raise BundleError(f"{files.TABLE} cannot be read: {type(error).__name__}") from error
    for steps, rows in tables.items():
        if rows.ndim != 2 or len(rows) != steps or not np.isfinite(rows).all():
            raise BundleError(f"{files.TABLE}: the table of {steps} steps has shape {rows.shape}")
    return tables


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(
            "ONNX Runtime is missing: pip install 'bridle[cpu]' or 'bridle[gpu]', not both"
        ) from error
    return onnxruntime
