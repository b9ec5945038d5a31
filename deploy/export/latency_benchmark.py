"""How long one chunk takes: the runtime beside the bare libraries, PyTorch and the processor."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch.utils.flop_counter import FlopCounterMode

from bridle.deploy import bundle as files
from bridle.deploy.backends import PROVIDERS
from bridle.deploy.bundle import Bundle, write_bundle
from bridle.deploy.exceptions import BundleError, ExportError
from bridle.deploy.export.exporting import Source, build_bundle
from bridle.deploy.export.graphs import step_modules
from bridle.deploy.export.parity import examples
from bridle.deploy.footprint import Footprint, footprint
from bridle.deploy.runtime import Inference, Runtime
from bridle.policies import (
    DiffusionConfig,
    EnergyConfig,
    FlowConfig,
    GeneratorConfig,
    MLPConfig,
    NetworkConfig,
    Policy,
    PolicyConfig,
    StateEncoderConfig,
    TransformerConfig,
    UNetConfig,
)

STATE, ACTIONS, HORIZON, N_OBS_STEPS = 20, 7, 16, 2
_BIG = UNetConfig(channels=(256, 512, 1024))
_SMALL = UNetConfig(channels=(64, 128, 256))
_TRANSFORMER = TransformerConfig()
MODELS: dict[str, tuple[NetworkConfig, GeneratorConfig]] = {
    "unet-big-ddim10": (_BIG, DiffusionConfig(n_steps=10)),
    "unet-small-ddim10": (_SMALL, DiffusionConfig(n_steps=10)),
    "transformer-flow1": (_TRANSFORMER, FlowConfig(n_steps=1)),
    "transformer-flow4": (_TRANSFORMER, FlowConfig(n_steps=4)),
    "transformer-energy2": (_TRANSFORMER, EnergyConfig(n_steps=2)),
    "mlp-flow1": (MLPConfig(), FlowConfig(n_steps=1)),
}
"""Name -> network and generator; the big U-Net is that of Diffusion Policy."""
SQUARE = 1024
"""Edge of the matrices by which the processor is measured."""


@dataclass(frozen=True)
class LatencyBenchmarkConfig:
    """Sizes of the measurement."""

    models: tuple[str, ...] = tuple(MODELS)
    """Which to measure."""
    seconds: float = 20.0
    """How long each model is measured, at least `rounds` times."""
    rounds: int = 10
    """Fewest measurements of each; every round is one chunk of each backend, in an order drawn
    anew: who comes second finds the libraries warm."""
    threads: int = 1
    """Threads of each backend."""
    seed: int = 0
    """Seed of weights and observations."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models:
            raise ExportError(f"models must be of {', '.join(MODELS)}, got {self.models}")
        for name in ("rounds", "threads"):
            if getattr(self, name) < 1:
                raise ExportError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.seconds >= 0:
            raise ExportError(f"seconds must not be negative, got {self.seconds}")


@dataclass(frozen=True)
class LatencyRow:
    """One model by one backend."""

    model: str
    backend: str
    """`infer`: `Runtime.infer`, checks and all. `onnxruntime`: the bare session of the same graph.
    `openvino`: `Runtime.infer` with OpenVINO, if it is installed. `torch`: `Policy.sample`."""
    parameters: int
    median_ms: float
    p99_ms: float
    floor_ms: float
    """Floating point operations of a chunk at the speed of large matrix products."""
    overhead_ms: float | None
    """Median of what `Runtime.infer` spends outside the graph; None for other backends."""
    chunks: int


@dataclass(frozen=True)
class LatencyBenchmark:
    """What `bridle benchmark latency` measures."""

    rows: tuple[LatencyRow, ...]
    robot_side: dict[str, Footprint]
    """Model -> what serving it costs a process of its own, without PyTorch."""
    sgemm_gflops: float
    """Of square matrices in float32, the median over the run."""
    config: LatencyBenchmarkConfig


def measure(config: LatencyBenchmarkConfig) -> LatencyBenchmark:
    """Measure all in one run, every backend in every round."""
    with _threads(config.threads), Progress() as progress:
        bar = progress.add_task("latency", total=len(config.models))
        rows, peaks, robot_side = [], [], {}
        for model in config.models:
            policy = untrained_policy(model, config.seed)
            bundle = build_bundle(policy, _source(), Path(model))
            robot_side[model] = _footprint(bundle)
            found, peak = _model(model, policy, bundle, config)
            rows += found
            peaks.append(peak)
            progress.advance(bar)
    return LatencyBenchmark(tuple(rows), robot_side, statistics.median(peaks), config)


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def untrained_policy(model: str, seed: int) -> Policy:
    """A policy with random weights and statistics."""
    network, generator = MODELS[model]
    torch.manual_seed(seed)
    policy = Policy(
        PolicyConfig(
            StateEncoderConfig({"joint_position": STATE}, n_obs_steps=N_OBS_STEPS),
            action_size=ACTIONS,
            horizon=HORIZON,
            relative_key=None,
            network=network,
            generator=generator,
        )
    )
    policy.fit(
        {
            "joint_position": torch.randn(64, N_OBS_STEPS, STATE),
            "action": torch.randn(64, policy.config.window_steps, ACTIONS),
        }
    )
    return policy.eval()


def _source() -> Source:
    joints = tuple(f"joint_{i}" for i in range(ACTIONS))
    return Source("none", "<mujoco/>", "benchmark", joints, 20.0, (), "0" * 64, {}, "")


def _footprint(bundle: Bundle) -> Footprint:
    own = ("format_version", "files")
    description = {k: v for k, v in vars(bundle.manifest).items() if k not in own}
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "bundle", bundle.contents, description)
        return footprint(Path(folder) / "bundle")


def _model(
    model: str, policy: Policy, bundle: Bundle, config: LatencyBenchmarkConfig
) -> tuple[list[LatencyRow], float]:
    backends = _backends(policy, bundle, config)
    operations = _operations(policy)
    a, b = np.random.default_rng(0).standard_normal((2, SQUARE, SQUARE), dtype=np.float32)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    overheads: dict[str, list[float]] = {name: [] for name in backends}
    random = np.random.default_rng(config.seed)
    products: list[float] = []
    for run in backends.values():
        for _ in range(3):
            run()
    ends = time.perf_counter() + config.seconds
    rounds = 0
    while rounds < config.rounds or time.perf_counter() < ends:
        for name in random.permutation(list(backends)):
            taken, result = _timed(backends[name])
            seconds[name].append(taken)
            if isinstance(result, Inference):
                overheads[name].append(result.timings.overhead)
        if rounds % 10 == 0:
            products.append(_timed(lambda: torch.mm(a, b))[0])
        rounds += 1
    peak = 2 * SQUARE**3 / statistics.median(products)
    parameters = sum(p.numel() for p in policy.network.parameters())
    rows = [
        LatencyRow(
            model,
            name,
            parameters,
            median_ms=1e3 * statistics.median(times),
            p99_ms=1e3 * float(np.quantile(times, 0.99)),
            floor_ms=1e3 * operations / peak,
            overhead_ms=1e3 * statistics.median(overheads[name]) if overheads[name] else None,
            chunks=len(times),
        )
        for name, times in seconds.items()
    ]
    return rows, peak / 1e9


def _timed(run: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def _operations(policy: Policy) -> int:
    """Floating point operations of a chunk, backward ones of an energy as well."""
    # Traced with two, because one would not stay variable.
    observation, noise = examples(policy, 2, 0)
    with torch.no_grad():
        with FlopCounterMode(display=False) as encoding:
            cond, _, _ = policy.encode(observation)
        parts = step_modules(policy, noise, cond)
        with FlopCounterMode(display=False) as stepping:
            for part, example in parts:
                part(*example)
    steps = len(policy.generator.table())
    return int(encoding.get_total_flops() + steps * stepping.get_total_flops()) // len(noise)


def _backends(
    policy: Policy, bundle: Bundle, config: LatencyBenchmarkConfig
) -> dict[str, Callable[[], object]]:
    observation, noise = examples(policy, 1, 1)
    arrays = {key: value.numpy() for key, value in observation.items()}
    z = noise.numpy()
    runtime = Runtime(bundle, threads=config.threads)
    feed = arrays | {"noise": z, "table": runtime.table()}
    if bundle.manifest.tolerance is not None:
        feed["tolerance"] = np.array(0.0, np.float32)
    session = _bare_session(bundle.contents[files.POLICY], config.threads)
    backends: dict[str, Callable[[], object]] = {
        "infer": lambda: runtime.infer(arrays, z),
        "onnxruntime": lambda: session.run(None, feed),
        "torch": lambda: policy.sample(observation, noise),
    }
    try:
        vino = Runtime(bundle, "openvino", config.threads)
    except BundleError:
        return backends
    return backends | {"openvino": lambda: vino.infer(arrays, z)}


def _bare_session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=[PROVIDERS["cpu"]])
