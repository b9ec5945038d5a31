"""How fast windows of demonstrations are gathered, beside the bare gather of the same rows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from bridle.training.demonstrations import (
    DemonstrationSet,
    DemonstrationWriter,
    known_key,
    load,
)
from bridle.training.demonstrations.windows import WindowSampler
from bridle.training.exceptions import TrainingError

Arrays = dict[str, NDArray[np.generic]]

KEYS = {
    "joint_position": 6,
    "joint_velocity": 6,
    "gripper": 1,
    "tcp_pose": 9,
    "object_state": 8,
    "action": 7,
}
"""Numbers per time step of a set of pick-place."""
IMAGE = (96, 96, 3)
N_ACTION_STEPS = 8


@dataclass(frozen=True)
class DataBenchmarkConfig:
    """Sizes of the measurement."""

    episodes: int = 400
    """Episodes of the set without images; the one with images has a tenth of them."""
    steps: int = 105
    """Time steps of an episode."""
    batch: int = 256
    """Windows of a batch, B."""
    n_obs_steps: int = 2
    """Observations of a window, To."""
    horizon: int = 16
    """Actions of a window, H."""
    batches: int = 2000
    """Batches without images; with images a tenth of them."""
    seed: int = 0
    """Seed of the sets and of the choice of windows."""

    def __post_init__(self) -> None:
        for name in ("episodes", "batch", "batches"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.steps < self.horizon:
            raise TrainingError(
                f"steps must be at least the horizon {self.horizon}, got {self.steps}"
            )


@dataclass(frozen=True)
class GatherRate:
    """One kind of set."""

    windows_per_second: float
    """Of `WindowSampler`."""
    bound_windows_per_second: float
    """Of plain numpy indexing with row numbers that were worked out before."""
    fraction: float
    """The first as a fraction of the second."""
    megabytes: float
    """Size of the set."""


@dataclass(frozen=True)
class DataBenchmark:
    """What `bridle benchmark data` measures."""

    state: GatherRate
    """State from RAM."""
    images: GatherRate
    """State and 96 x 96 pictures from RAM."""
    memmap: GatherRate
    """State and 96 x 96 pictures from a memory-mapped file, against the same bound in RAM."""
    ram_fraction: float
    """Fraction of the bound without images."""
    image_fraction: float
    """Fraction of the bound with images."""
    config: DataBenchmarkConfig


def measure(config: DataBenchmarkConfig) -> DataBenchmark:
    """Measure all three in one run, each batch beside its bound."""
    few = max(1, config.episodes // 10)
    n_images = max(1, config.batches // 10)
    with TemporaryDirectory(prefix="bridle-benchmark-") as folder, Progress() as progress:
        state = _set(config, config.episodes, images=False)
        images = _set(config, few, images=True)
        mapped = _mapped(images, Path(folder) / "set")
        bar = progress.add_task("gathering", total=config.batches + 2 * n_images)

        def rate(source: DemonstrationSet, bound: DemonstrationSet, batches: int) -> GatherRate:
            measured = _compare(source, bound, config, batches)
            progress.advance(bar, batches)
            return measured

        rates = (
            rate(state, state, config.batches),
            rate(images, images, n_images),
            rate(mapped, images, n_images),
        )
    return DataBenchmark(*rates, rates[0].fraction, rates[1].fraction, config)


def _set(config: DataBenchmarkConfig, episodes: int, *, images: bool) -> DemonstrationSet:
    random = np.random.default_rng(config.seed)
    n = episodes * config.steps
    arrays: Arrays = {
        key: random.standard_normal((n, size), np.float32) for key, size in KEYS.items()
    }
    if images:
        arrays["camera_front"] = random.integers(0, 256, (n, *IMAGE), np.uint8)
    for array in arrays.values():
        array.flags.writeable = False
    ends = np.arange(1, episodes + 1, dtype=np.int64) * config.steps
    return DemonstrationSet(MappingProxyType(arrays), ends, None)


def _mapped(data: DemonstrationSet, path: Path) -> DemonstrationSet:
    """The same set, written to `path` and mapped from there."""
    keys = {key: known_key(key, rows.shape[1:]) for key, rows in data.arrays.items()}
    with DemonstrationWriter.create(
        path, robot="none", task="benchmark", control_rate=20.0, keys=keys, instructions=()
    ) as writer:
        for i in range(data.n_episodes):
            writer.append(data.episode(i))
    return load(path, memory="memmap")


def _compare(
    source: DemonstrationSet, bound: DemonstrationSet, config: DataBenchmarkConfig, batches: int
) -> GatherRate:
    keys = [key for key in source.arrays if key != "action"]
    sampler = WindowSampler(source, config.horizon, config.n_obs_steps, N_ACTION_STEPS, keys)
    random = np.random.default_rng(config.seed)
    rows_of = WindowSampler(
        _row_numbers(source), config.horizon, config.n_obs_steps, N_ACTION_STEPS, ["row"]
    )
    seconds = np.zeros(2)
    for rows in source.arrays.values():
        rows.max()  # maps the pages of a file
    # The first batch is not counted, and whoever reads rows first finds fewer of them in a cache.
    for i in range(batches + 1):
        indices = random.integers(0, len(sampler), config.batch)
        numbers = rows_of.sample(indices)
        observed, acted = (np.ascontiguousarray(numbers[k][..., 0]) for k in ("row", "action"))
        contenders = [
            partial(sampler.sample, indices),
            partial(_gather, bound.arrays, keys, observed, acted),
        ]
        for which in (0, 1) if i % 2 else (1, 0):
            began = time.perf_counter()
            contenders[which]()
            seconds[which] += (time.perf_counter() - began) * (i > 0)
    ours, theirs = batches * config.batch / seconds
    size = sum(rows.nbytes for rows in source.arrays.values())
    return GatherRate(float(ours), float(theirs), float(ours / theirs), size / 1e6)


def _row_numbers(data: DemonstrationSet) -> DemonstrationSet:
    """A set in which every row is its own number: its windows are the rows of the others."""
    rows = np.arange(data.n_steps)[:, None]
    return DemonstrationSet({"row": rows, "action": rows}, data.episode_ends, None)


def _gather(
    arrays: Mapping[str, NDArray[np.generic]],
    keys: list[str],
    observed: NDArray[np.intp],
    acted: NDArray[np.intp],
) -> Arrays:
    batch = {key: arrays[key][observed] for key in keys}
    batch["action"] = arrays["action"][acted]
    return batch
