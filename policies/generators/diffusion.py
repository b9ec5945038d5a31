"""Denoising diffusion: schedules and coefficients read off the schedulers of diffusers.

Every sampler here is one linear rule. With n the network's output, x0 = p x + q n the clean chunk
that it stands for (clipped), and x0' the one of the step before,

    x <- a x + b x0 + c x0' + f n        (+ std * noise)

and a row of the table holds the coefficients. DDIM (Song et al. 2020, arXiv 2010.02502), DDPM (Ho
et al. 2020, arXiv 2006.11239) and DPM-Solver++ 2M (Lu et al. 2022, arXiv 2211.01095) differ in
their rows alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import diffusers
import torch
from jaxtyping import Float
from torch import Tensor

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.base import Generator, Network

Prediction = Literal["epsilon", "sample", "v_prediction"]
Sampler = Literal["ddim", "ddpm", "dpm-solver++"]
Row = tuple[float, ...]

_SCHEDULERS: dict[Sampler, Any] = {
    "ddim": diffusers.DDIMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "dpm-solver++": diffusers.DPMSolverMultistepScheduler,
}


@dataclass(frozen=True)
class DiffusionConfig:
    """Settings of a `Diffusion`; schedule and prediction are Diffusion Policy's (2303.04137)."""

    prediction: Prediction = "epsilon"
    """What the network predicts: the noise (`epsilon`), the clean chunk (`sample`), or v (Salimans
    and Ho, arXiv 2202.00512). In few steps a small network goes least astray with `sample`."""
    sampler: Sampler = "ddim"
    """How chunks are sampled; training does not depend on it."""
    n_steps: int = 10
    """Steps at inference."""
    train_steps: int = 100
    """Steps of the noise schedule."""
    schedule: str = "squaredcos_cap_v2"
    """The noise schedule, by its name in diffusers."""
    clip: float = 5.0
    """Estimates of the clean chunk are clipped to +- this, in normalised units; 0 for never.
    Diffusion Policy has 1, because it normalises to that range. DPM-Solver++ in diffusers never
    clips, and goes astray where the noise hides the chunk."""

    def __post_init__(self) -> None:
        for name, allowed in (("prediction", get_args(Prediction)), ("sampler", get_args(Sampler))):
            if getattr(self, name) not in allowed:
                raise PolicyError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if self.train_steps < 2 or not 1 <= self.n_steps <= self.train_steps:
            raise PolicyError(
                f"n_steps must lie in 1..train_steps and train_steps be at least 2, "
                f"got {self.n_steps} and {self.train_steps}"
            )
        if not self.clip >= 0:
            raise PolicyError(f"clip must not be negative, got {self.clip}")
        try:
            self.scheduler()
        except NotImplementedError as error:
            raise PolicyError(f"schedule {self.schedule!r}: {error}") from error

    def scheduler(self) -> Any:
        """The scheduler of diffusers whose steps the table reproduces."""
        settings: dict[str, Any] = {
            "num_train_timesteps": self.train_steps,
            "beta_schedule": self.schedule,
            "prediction_type": self.prediction,
        }
        if self.sampler != "dpm-solver++":
            settings |= {"clip_sample": self.clip > 0, "clip_sample_range": self.clip or 1.0}
        else:
            # Where hardly any signal is left, a clean chunk read off the noise is beyond bounds;
            # diffusers advises to begin here with schedules that end in pure noise.
            settings["lambda_min_clipped"] = -5.1
        return _SCHEDULERS[self.sampler](**settings)


class Diffusion(Generator):
    """Denoising diffusion. Times are steps of the schedule as shares of its length."""

    n_times = 1
    columns: tuple[str, ...] = ("time", "p", "q", "clip", "a", "b", "c", "f", "std")

    def __init__(self, config: DiffusionConfig) -> None:
        """Read the noise schedule; a diffusion has no weights of its own."""
        self.config = config
        self.memory = int(config.sampler == "dpm-solver++")
        kept = config.scheduler().alphas_cumprod.double()
        self._alpha, self._sigma = kept.sqrt(), (1 - kept).sqrt()

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Squared error of the prediction at a uniform random step, for each entry."""
        noise = torch.randn(chunk.shape, generator=random, device=chunk.device, dtype=chunk.dtype)
        index = torch.randint(
            self.config.train_steps, chunk.shape[:1], generator=random, device=chunk.device
        )
        alpha, sigma = (
            schedule.to(chunk)[index][:, None, None] for schedule in (self._alpha, self._sigma)
        )
        target: Tensor = {
            "epsilon": noise,
            "sample": chunk,
            "v_prediction": alpha * noise - sigma * chunk,
        }[self.config.prediction]
        time = (index / self.config.train_steps).to(chunk)
        prediction = network(alpha * chunk + sigma * noise, time[:, None], cond)
        return (prediction - target).square()

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """The coefficients of each step.

        Raises:
            PolicyError: fewer than one step, or more than the schedule has.
        """
        steps = self.config.n_steps if n_steps is None else n_steps
        if not 1 <= steps <= self.config.train_steps:
            raise PolicyError(
                f"a diffusion of {self.config.train_steps} steps samples in 1 to as many, "
                f"got {steps}"
            )
        scheduler = self.config.scheduler()
        scheduler.set_timesteps(steps)
        if len(set(scheduler.timesteps.tolist())) < steps:
            raise PolicyError(
                f"{self.config.sampler} cannot take {steps} different steps on a schedule of "
                f"{self.config.train_steps}"
            )
        rows = {"ddim": self._ddim, "ddpm": self._ddpm, "dpm-solver++": self._dpm_solver}
        return torch.tensor(list(rows[self.config.sampler](scheduler)), dtype=torch.float32)

    def _estimates(self, alpha: float, sigma: float) -> tuple[float, float, float, float]:
        """(p, q) of the clean chunk p x + q n, and (u, w) of the noise u x + w n."""
        match self.config.prediction:
            case "epsilon":
                return 1 / alpha, -sigma / alpha, 0.0, 1.0
            case "sample":
                return 0.0, 1.0, 1 / sigma, -alpha / sigma
            case "v_prediction":
                return alpha, -sigma, sigma, alpha

    def _row(
        self, step: int, p: float, q: float, *, a: float, b: float, c: float = 0.0, f: float = 0.0,
        std: float = 0.0, clip: float = math.inf,
    ) -> Row:  # fmt: skip
        return (step / self.config.train_steps, p, q, clip, a, b, c, f, std)

    @property
    def _clip(self) -> float:
        return self.config.clip or math.inf

    def _ddim(self, scheduler: Any) -> Iterator[Row]:
        gap = self.config.train_steps // len(scheduler.timesteps)
        for t in scheduler.timesteps.tolist():
            p, q, u, w = self._estimates(float(self._alpha[t]), float(self._sigma[t]))
            kept = float(
                scheduler.alphas_cumprod[t - gap] if t >= gap else scheduler.final_alpha_cumprod
            )
            sigma = math.sqrt(1 - kept)
            yield self._row(t, p, q, a=sigma * u, b=math.sqrt(kept), f=sigma * w, clip=self._clip)

    def _ddpm(self, scheduler: Any) -> Iterator[Row]:
        kept = (*self._alpha.square().tolist(), 1.0)
        for t in scheduler.timesteps.tolist():
            before = scheduler.previous_timestep(t)
            now, then = kept[t], kept[int(before)] if before >= 0 else 1.0
            p, q, _, _ = self._estimates(math.sqrt(now), math.sqrt(1 - now))
            beta = 1 - now / then
            yield self._row(
                t,
                p,
                q,
                a=math.sqrt(now / then) * (1 - then) / (1 - now),
                b=math.sqrt(then) * beta / (1 - now),
                std=math.sqrt(max((1 - then) / (1 - now) * beta, 1e-20)) if t > 0 else 0.0,
                clip=self._clip,
            )

    def _dpm_solver(self, scheduler: Any) -> Iterator[Row]:
        ratios = scheduler.sigmas.double().tolist()
        alphas = [1 / math.sqrt(1 + r * r) for r in ratios]
        sigmas = [r * alpha for r, alpha in zip(ratios, alphas, strict=True)]
        logs = [math.log(1 / r) if r else math.inf for r in ratios]
        steps = scheduler.timesteps.tolist()
        for i, t in enumerate(steps):
            p, q, _, _ = self._estimates(alphas[i], sigmas[i])
            reach = logs[i + 1] - logs[i]
            b, c = alphas[i + 1] * (1 - math.exp(-reach)), 0.0
            if 0 < i < len(steps) - 1:
                slope = 0.5 * b * reach / (logs[i] - logs[i - 1])
                b, c = b + slope, -slope
            yield self._row(t, p, q, a=sigmas[i + 1] / sigmas[i], b=b, c=c, clip=self._clip)

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """The step of the schedule, as a share of its length."""
        return rows[..., None, :1]

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch state action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch state action"], Float[Tensor, " batch"]]:
        """One denoising step; the score is the mean square of x - x0, in normalised units."""
        _, p, q, clip, a, b, c, f, _ = row.unbind()
        noisy, earlier = x.chunk(2, dim=1) if self.memory else (x, None)
        output = network(noisy, self.times(row).expand(x.shape[0], -1), cond)
        clean = torch.minimum(torch.maximum(p * noisy + q * output, -clip), clip)
        result = a * noisy + b * clean + f * output
        if earlier is not None:
            result = torch.cat([result + c * earlier, clean], dim=1)
        return result, (noisy - clean).square().mean(dim=(1, 2))
