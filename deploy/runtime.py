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
from bridle.deploy.input_check import InputCheck, is_finite
from bridle.deploy.walking import Walk, open_walk

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
class Timings:
    """Where the time of one inference went [s]."""

    total: float
    """Checks and all."""
    encoder: float
    """Of the encoder; 0 where the whole sampler runs as one graph."""
    sampler: float
    """Of the steps; of the whole sampler where it runs as one graph."""

    @property
    def overhead(self) -> float:
        """What no graph took: checks and copies."""
        return self.total - self.encoder - self.sampler


@dataclass(frozen=True)
class Inference:
    """What one inference gave."""

    chunk: Floats
    """(B, H, A) absolute joint positions [rad]; row `first_action` is the present."""
    scores: Floats
    """(steps, B) the generator's score before each step: an energy's energy, a flow's mean squared
    velocity."""
    timings: Timings
    """How long it took."""

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
        if manifest.committed:
            keys = (*keys, files.COMMITTED, files.N_COMMITTED)
        given = (*keys, "noise", "table", *(() if manifest.tolerance is None else ("tolerance",)))
        half = manifest.precision == "float16"
        self._signatures = {
            each.name: each
            for each in (
                # A descent may end early; then there are fewer scores.
                Signature(
                    files.POLICY,
                    given,
                    ("chunk", "scores"),
                    fixed=manifest.tolerance is None,
                    half=half,
                ),
                Signature(files.ENCODER, keys, ("cond", "offset", "scale"), half=half),
                Signature(
                    files.STEP, ("x", "row", "cond"), ("next", "score"), repeated=True, half=half
                ),
            )
        }
        if files.FEASIBILITY in bundle.contents:
            critic = Signature(files.FEASIBILITY, ("cond", "action"), ("q_h",))
            self._signatures[critic.name] = critic
        # Not the bundle: the bytes of a graph are let go of when it is loaded.
        self._models = {name: bundle.contents[name] for name in self._signatures}
        self._provider, self._threads = provider, threads
        self._graphs: dict[str, Graph] = {}
        self._checked = InputCheck(manifest)
        self._walk: Walk | None = None
        if provider not in ("cpu", "openvino") if walk is None else walk:
            self._graph(files.ENCODER)
            self._walk = open_walk(self._graph(files.STEP))
        else:
            self._graph(files.POLICY)

    @property
    def provider(self) -> str:
        """What really runs the graphs."""
        return next(iter(self._graphs.values())).used

    @property
    def judges(self) -> bool:
        """Whether the bundle has a critic of feasibility."""
        return files.FEASIBILITY in self._signatures

    def _graph(self, name: str) -> Graph:
        """A graph, loaded when it is first needed."""
        if name not in self._graphs:
            model, signature = self._models[name], self._signatures[name]
            self._graphs[name] = open_graph(model, signature, self._provider, self._threads)
            del self._models[name]
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

    def feasibility(self, encoding: Encoding, chunks: Array) -> Floats:
        """What following chunks leads to, Q_h (B,): above 0 where something will be touched.

        Learned from costs (FISOR, arXiv 2401.10700), and no guarantee.

        Args:
            encoding: of the observation; one may stand for many chunks.
            chunks: (B, rows, A) absolute positions from the newest observation on [rad]. The first
                `n_action_steps` rows count.

        Raises:
            InferenceError: the bundle has no critic, a shape is wrong, or the critic gives numbers
                that are not finite.
        """
        n, joints = self.manifest.n_action_steps, len(self.manifest.joint_names)
        if not self.judges:
            raise InferenceError("the bundle has no critic of feasibility")
        if chunks.ndim != 3 or chunks.shape[1] < n or chunks.shape[2] != joints:
            raise InferenceError(f"chunks must be (B, {n} or more, {joints}), got {chunks.shape}")
        action = (chunks[:, :n] - encoding.offset) / encoding.scale
        cond = np.broadcast_to(encoding.cond, (len(chunks), encoding.cond.shape[1]))
        feed = {"cond": np.ascontiguousarray(cond), "action": action.astype(np.float32)}
        (q_h,) = self._run(files.FEASIBILITY, feed)
        if q_h.shape != (len(chunks),) or not is_finite(q_h):
            raise InferenceError(
                f"the critic of feasibility gave {q_h.shape} and not {len(chunks)} finite numbers"
            )
        return q_h

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
        checked = time.perf_counter()
        if self._walk is not None:
            chunk, scores, encoded = self._walked(self._walk, feed, noise, table, limit)
        else:
            encoded = checked
            feed |= {"noise": noise, "table": table}
            if limit is not None:
                feed["tolerance"] = np.asarray(limit)
            chunk, scores = self._run(files.POLICY, feed)
        sampled = time.perf_counter()
        if chunk.shape != noise.shape:
            raise InferenceError(f"the graph gave a chunk {chunk.shape}, expected {noise.shape}")
        if not is_finite(chunk):
            raise InferenceError("the policy gave numbers that are not finite")
        total = time.perf_counter() - began
        return Inference(chunk, scores, Timings(total, encoded - checked, sampled - encoded))

    def _walked(
        self,
        walk: Walk,
        feed: Mapping[str, Array],
        noise: Floats,
        table: Floats,
        limit: np.float32 | None,
    ) -> tuple[Floats, Floats, float]:
        """Chunk and scores, and the time at which the encoder was done."""
        seen = Encoding(*self._run(files.ENCODER, feed))
        encoded = time.perf_counter()
        cond = np.ascontiguousarray(np.broadcast_to(seen.cond, (len(noise), seen.cond.shape[1])))
        n, memory = noise.shape[1], self.manifest.memory
        start = np.concatenate([noise, *[np.zeros_like(noise)] * memory], axis=1)
        try:
            walk.begin(start, table, cond)
            taken = 0
            while taken < len(table):
                walk.step(taken)
                taken += 1
                if limit:
                    move = walk.state(taken)[:, :n] - walk.state(taken - 1)[:, :n]
                    if np.sqrt(np.square(move).mean(axis=(1, 2))).max() < limit:
                        break
            x, scores = walk.state(taken)[:, :n], walk.scores(taken)
        except Exception as error:
            raise _cannot_run(error) from error
        return seen.offset + seen.scale * x, scores, encoded

    def _run(self, name: str, feed: Mapping[str, Array]) -> list[Array]:
        graph = self._graph(name)
        try:
            return graph(feed)
        except Exception as error:
            raise _cannot_run(error) from error


def _cannot_run(error: Exception) -> InferenceError:
    """The libraries raise bare pybind exceptions."""
    return InferenceError(f"the graph cannot run: {str(error).splitlines()[0]}")


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
