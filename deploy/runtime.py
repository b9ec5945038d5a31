"""Runs a bundle: observations in, an action chunk out. No PyTorch."""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.deploy import bundle as files
from bridle.deploy.backends import Graph, Signature, open_graph
from bridle.deploy.bundle import Bundle
from bridle.deploy.exceptions import BundleError, InferenceError

Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Encoding:
    """What depends on the observation alone; a chunk is offset + scale * x."""

    cond: Floats
    """(B, C)."""
    offset: Floats
    """(B, 1, A) [rad]."""
    scale: Floats
    """(A,) [rad]."""


@dataclass(frozen=True)
class Inference:
    """What one inference gave."""

    chunk: Floats
    """(B, H, A) absolute joint positions [rad]; row `first_action` is the present."""
    scores: Floats
    """(steps, B) the generator's score before each step: an energy's energy, a flow's mean squared
    velocity."""
    seconds: float
    """Time it took, checks and all."""

    @property
    def score(self) -> Floats:
        """(B,) of the last step."""
        last: Floats = self.scores[-1]
        return last

    @property
    def steps(self) -> int:
        """Steps that were taken: fewer than asked for where a descent ended early."""
        return len(self.scores)


class Runtime:
    """The policy of a verified bundle.

    The tables in the bundle, one per number of steps, are the generator's own: no time grid is
    computed here. On the CPU the whole sampler runs as one graph; on a GPU the one-step graph is
    walked along the table from here, because CUDA graphs cannot hold control flow. `encode`, `step`
    and `table` are that walk in parts, for what guides it.
    """

    def __init__(
        self, bundle: Bundle, provider: str = "cpu", threads: int = 1, *, walk: bool | None = None
    ) -> None:
        """Load the graphs.

        Args:
            bundle: a verified bundle.
            provider: `cpu`, `cuda`, `tensorrt`, `openvino`, or `auto` for a GPU if there is one.
            threads: threads within one operator; more than one rarely pays for small networks.
            walk: whether to walk the one-step graph from here; by default only on a GPU.

        Raises:
            BundleError: the provider is not available or a graph cannot be loaded.
        """
        self.manifest = manifest = bundle.manifest
        self.tables = _tables(bundle.contents[files.TABLE])
        if manifest.n_steps not in self.tables:
            raise BundleError(f"{files.TABLE} has no table of {manifest.n_steps} steps")
        keys = tuple(spec.name for spec in manifest.inputs)
        given = (*keys, "noise", "table", *(() if manifest.tolerance is None else ("tolerance",)))
        self._signatures = {
            # A descent may end early; then there are fewer scores.
            files.POLICY: Signature(
                files.POLICY, given, ("chunk", "scores"), fixed=manifest.tolerance is None
            ),
            files.ENCODER: Signature(files.ENCODER, keys, ("cond", "offset", "scale")),
            files.STEP: Signature(files.STEP, ("x", "row", "cond"), ("next", "score")),
        }
        self._bundle, self._provider, self._threads = bundle, provider, threads
        self._graphs: dict[str, Graph] = {}
        self._inputs = {spec.name: spec for spec in manifest.inputs}
        self._chunk_shape = (manifest.horizon, len(manifest.joint_names))
        self._walk = provider not in ("cpu", "openvino") if walk is None else walk
        for name in (files.ENCODER, files.STEP) if self._walk else (files.POLICY,):
            self._graph(name)

    @property
    def provider(self) -> str:
        """What really runs the graphs."""
        return next(iter(self._graphs.values())).used

    def _graph(self, name: str) -> Graph:
        """A graph, loaded when it is first needed."""
        if name not in self._graphs:
            model, signature = self._bundle.contents[name], self._signatures[name]
            self._graphs[name] = open_graph(model, signature, self._provider, self._threads)
        return self._graphs[name]

    def table(self, n_steps: int | None = None) -> Floats:
        """The rows (steps, columns) to walk along.

        Args:
            n_steps: steps of the sampler; None takes the number the policy was trained for.

        Raises:
            InferenceError: the bundle has no table of that many.
        """
        steps = self.manifest.n_steps if n_steps is None else n_steps
        if steps not in self.tables:
            offered = ", ".join(map(str, sorted(self.tables)))
            raise InferenceError(f"the bundle has tables of {offered} steps, not {steps}")
        return self.tables[steps]

    def encode(self, observation: Mapping[str, Array]) -> Encoding:
        """What the walk is conditioned on, once for any number of chunks.

        Args:
            observation: every input of the manifest, (B, To, *shape), physical units.

        Raises:
            InferenceError: a key is missing, a shape is wrong, or a number is not finite.
        """
        return Encoding(*self._run(files.ENCODER, self._checked(observation)))

    def step(self, x: Floats, row: Floats, cond: Floats) -> tuple[Floats, Floats]:
        """One row of the table, in normalised units.

        Args:
            x: state (B, (1 + memory) * H, A).
            row: of the table (columns,).
            cond: (B, C).

        Returns:
            The next state, and the score of the present one (B,).
        """
        following, score = self._run(files.STEP, {"x": x, "row": row, "cond": cond})
        return following, score

    def infer(
        self,
        observation: Mapping[str, Array],
        noise: Floats,
        n_steps: int | None = None,
        tolerance: float | None = None,
    ) -> Inference:
        """Generate chunks.

        Args:
            observation: every input of the manifest, (B, To, *shape), physical units. One
                observation may stand for many noises; it is encoded once.
            noise: (B, H, A) standard normal.
            n_steps: steps of the sampler; None takes the number the policy was trained for.
            tolerance: for an energy, the root mean square below which a step ends the descent, in
                normalised units; None takes the policy's own.

        Raises:
            InferenceError: a key is missing, a shape is wrong, or a number is not finite.
        """
        began = time.perf_counter()
        own = self.manifest.tolerance
        if tolerance is not None and (own is None or not 0 <= tolerance < np.inf):
            raise InferenceError(
                f"tolerance must not be negative, and is for energies only, got {tolerance}"
            )
        feed = self._checked(observation, noise)
        table = self.table(n_steps)
        limit = np.float32(own if tolerance is None else tolerance) if own is not None else None
        if self._walk:
            chunk, scores = self._walked(feed, noise, table, limit)
        else:
            feed |= {"noise": noise, "table": table}
            if limit is not None:
                feed["tolerance"] = np.asarray(limit)
            chunk, scores = self._run(files.POLICY, feed)
        if chunk.shape != noise.shape:
            raise InferenceError(f"the graph gave a chunk {chunk.shape}, expected {noise.shape}")
        if not np.isfinite(chunk).all():
            raise InferenceError("the policy gave numbers that are not finite")
        return Inference(chunk, scores, time.perf_counter() - began)

    def _walked(
        self, feed: dict[str, Array], noise: Floats, table: Floats, limit: np.float32 | None
    ) -> tuple[Floats, Floats]:
        seen = Encoding(*self._run(files.ENCODER, feed))
        cond = np.ascontiguousarray(np.broadcast_to(seen.cond, (len(noise), seen.cond.shape[1])))
        n, memory = noise.shape[1], self.manifest.memory
        x = np.concatenate([noise, *[np.zeros_like(noise)] * memory], axis=1)
        scores = []
        for row in table:
            before = x[:, :n]
            x, score = self.step(x, row, cond)
            scores.append(score)
            if limit:
                moved = np.sqrt(np.square(x[:, :n] - before).mean(axis=(1, 2)))
                if moved.max() < limit:
                    break
        return seen.offset + seen.scale * x[:, :n], np.stack(scores)

    def _run(self, name: str, feed: Mapping[str, Array]) -> list[Array]:
        graph = self._graph(name)
        try:
            return graph(feed)
        except Exception as error:  # the libraries raise bare pybind exceptions
            raise InferenceError(f"the graph cannot run: {str(error).splitlines()[0]}") from error

    def _checked(
        self, observation: Mapping[str, Array], noise: Floats | None = None
    ) -> dict[str, Array]:
        batches: tuple[int, ...] = ()
        if noise is not None:
            batch = noise.shape[0] if noise.ndim == 3 else 0
            if not batch or noise.shape[1:] != self._chunk_shape or noise.dtype != np.float32:
                raise InferenceError(
                    f"noise must be float32 (B, {self._chunk_shape[0]}, {self._chunk_shape[1]}), "
                    f"got {noise.dtype} {noise.shape}"
                )
            batches = (batch, 1)
        feed: dict[str, Array] = {}
        for name, spec in self._inputs.items():
            if name not in observation:
                raise InferenceError(f"observation '{name}' is missing")
            value = np.asarray(observation[name])
            if spec.dtype == "float32":
                value = value.astype(np.float32, copy=False)
            elif value.dtype != spec.dtype:
                raise InferenceError(
                    f"observation '{name}' must be {spec.dtype}, got {value.dtype}"
                )
            # All have the batch of the first, and that is the noise's or 1.
            batches = batches or (len(value) if value.ndim else 0,)
            if value.shape[1:] != tuple(spec.shape[1:]) or len(value) not in batches:
                raise InferenceError(
                    f"observation '{name}' must be {(batches[0], *spec.shape[1:])}, "
                    f"got {value.shape}"
                )
            batches = (len(value),)
            if spec.dtype == "float32" and not np.isfinite(value).all():
                raise InferenceError(f"observation '{name}' has numbers that are not finite")
            feed[name] = value
        return feed


def _tables(data: bytes) -> dict[int, Floats]:
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
