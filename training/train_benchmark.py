"""How fast training steps are, beside a bare loop with the same network and loss."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.progress import Progress

from bridle.policies import Policy
from bridle.training.benchmark import KEYS
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationWriter, known_key
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner

SIZES = {"small": (64, 128, 256), "large": (256, 512, 1024)}
"""Name -> channels of the U-Net; the large one is that of Diffusion Policy."""
HORIZON, N_OBS_STEPS = 16, 2
EPISODES, STEPS = 40, 105
WAIT_STEPS = 20


@dataclass(frozen=True)
class TrainBenchmarkConfig:
    """Sizes of the measurement."""

    sizes: tuple[str, ...] = tuple(SIZES)
    """U-Nets to train: small, large."""
    batches: tuple[int, ...] = (64, 256)
    """Windows of a step."""
    seconds: float = 40.0
    """How long each size and batch is measured, at least `pairs` times."""
    pairs: int = 3
    """Fewest measurements of each; every one is of both loops, one after the other."""
    threads: int = 1
    """Threads of PyTorch on the CPU."""
    seed: int = 0
    """Seed of the data and the weights."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sizes if name not in SIZES]
        if unknown or not self.sizes:
            raise TrainingError(f"sizes must be of {', '.join(SIZES)}, got {self.sizes}")
        if not self.batches or min(self.batches) < 1:
            raise TrainingError(f"batches must be at least 1, got {self.batches}")
        for name in ("pairs", "threads"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.seconds >= 0:
            raise TrainingError(f"seconds must not be negative, got {self.seconds}")


@dataclass(frozen=True)
class StepRate:
    """Training steps of one network and batch."""

    size: str
    parameters: int
    """Of the network and the generator."""
    batch: int
    steps_per_second: float
    """Of the trainer: windows, encoder, clipping, averaged weights and all; median."""
    bound_steps_per_second: float
    """Of forward, backward and AdamW on tensors that are there already; median."""
    fraction: float
    """The first as a fraction of the second."""
    pairs: int


@dataclass(frozen=True)
class TrainBenchmark:
    """What `bridle benchmark train` measures."""

    rates: tuple[StepRate, ...]
    step_fraction: float
    """The smallest."""
    data_wait_share: float
    """Share of a step spent waiting for its windows; of the default policy, whose steps are the
    shortest, at the largest batch."""
    device: str
    config: TrainBenchmarkConfig


def measure(config: TrainBenchmarkConfig) -> TrainBenchmark:
    """Measure all in one run, each step beside its bound."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with TemporaryDirectory(prefix="bridle-benchmark-") as folder, Progress() as progress:
            data = _write_set(Path(folder) / "set", config.seed)
            cells = [(size, batch) for size in config.sizes for batch in config.batches]
            bar = progress.add_task("training", total=len(cells) + 1)
            rates = []
            for size, batch in cells:
                rates.append(_compare(size, _learner(data, batch, config, size), config))
                progress.advance(bar)
            learner = _learner(data, max(config.batches), config, None)
            share = _wait_share(learner)
            progress.advance(bar)
            device = learner.accelerator.device.type
    finally:
        torch.set_num_threads(threads)
    smallest = min(rate.fraction for rate in rates)
    return TrainBenchmark(tuple(rates), smallest, share, device, config)


def _write_set(path: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    keys = {key: known_key(key, (size,)) for key, size in KEYS.items()}
    with DemonstrationWriter.create(
        path, robot="none", task="benchmark", control_rate=20.0, keys=keys, instructions=()
    ) as writer:
        for _ in range(EPISODES):
            writer.append(
                {k: random.standard_normal((STEPS, n), np.float32) for k, n in KEYS.items()}
            )
    return path


def _learner(data: Path, batch: int, config: TrainBenchmarkConfig, size: str | None) -> Learner:
    """Of a U-Net with diffusion, or of the default policy."""
    unet: dict[str, object] = {}
    if size is not None:
        channels = f"network.channels={list(SIZES[size])}"
        unet = {"generator": "diffusion", "network": "unet", "set": (channels,)}
    return Learner(
        TrainConfig(
            data=data,
            out=data.with_name("run"),
            steps=1_000_000,
            batch_size=batch,
            n_obs_steps=N_OBS_STEPS,
            horizon=HORIZON,
            val_ratio=0.0,
            seed=config.seed,
            **unet,  # type: ignore[arg-type]
        )
    )


def _bare_steps(policy: Policy, batch: int, device: torch.device) -> Iterator[None]:
    """The same network and loss without anything else."""
    network, generator = policy.network, policy.generator
    parts = [part for part in (network, generator) if isinstance(part, torch.nn.Module)]
    weights = [weight for part in parts for weight in part.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    chunk = torch.randn(batch, policy.config.horizon, policy.config.action_size, device=device)
    cond = torch.randn(batch, policy.cond_size, device=device)
    while True:
        loss = generator.loss(network, chunk, cond).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        yield


def _compare(size: str, learner: Learner, config: TrainBenchmarkConfig) -> StepRate:
    device = learner.accelerator.device
    policy = Policy(learner.policy_config).to(device)
    parameters = sum(p.numel() for p in policy.parameters())
    ours, bare = learner.train_steps(), _bare_steps(policy, learner.batch_size, device)
    # A GPU works behind the Python that feeds it; waiting after each step would measure that.
    steps = 1 if device.type == "cpu" else 20
    contenders: tuple[Callable[[], object], ...] = (lambda: next(ours), lambda: next(bare))
    seconds: tuple[list[float], ...] = ([], [])
    for contender in contenders:
        _timed(contender, 1, device)
    ends = time.perf_counter() + config.seconds
    while len(seconds[0]) < config.pairs or time.perf_counter() < ends:
        for which in (0, 1) if len(seconds[0]) % 2 else (1, 0):
            seconds[which].append(_timed(contenders[which], steps, device) / steps)
    rate, bound = (1 / statistics.median(times) for times in seconds)
    pairs = len(seconds[0])
    return StepRate(size, parameters, learner.batch_size, rate, bound, rate / bound, pairs)


def _timed(step: Callable[[], object], times: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(times):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _wait_share(learner: Learner) -> float:
    """Without a second loop in between, in which batches could be gathered."""
    steps = learner.train_steps()
    _timed(lambda: next(steps), 2, learner.accelerator.device)
    waited = learner.waited
    seconds = _timed(lambda: next(steps), WAIT_STEPS, learner.accelerator.device)
    return (learner.waited - waited) / seconds
