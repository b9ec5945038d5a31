"""Energy-based generation: chunks roll down a learned energy, some steps or until it is flat.

Any network becomes an energy, E(x) = |x - network(x)|^2 / 2 (`distance`) or <x, network(x)>
(`product`), per entry of the chunk. Two losses are here:

- `coupled` (the default): descent starts from a corrupted action, x = (1 - t) noise + t action, and
  one step x - alpha dE/dx shall land on the action. That keeps every mode, with two steps at
  inference. Told t (`timed`, the default), the network makes one energy for each level of noise, as
  denoisers do (Salimans and Ho 2021, "Should EBMs model the energy or the score?"; Du et al. 2023,
  arXiv 2302.11552), and descent goes from level to level on the grid of flows. Not told, there is
  one energy for all: equilibrium matching (Wang and Du 2025, arXiv 2510.02300) with weight 1 - t.
- `published`: the loop of energy-based transformers (Gladstone et al. 2025, arXiv 2507.02092) and
  EBT-Policy (arXiv 2510.27545): from independent noise a random number of steps of random size,
  with annealed Langevin noise, detached in between; each shall land on the action. Noise and action
  are independent, so that this is regression: it lands between modes.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.base import Generator, Network

Loop = Literal["coupled", "published"]
Readout = Literal["distance", "product"]


@dataclass(frozen=True)
class EnergyConfig:
    """Settings of an `Energy`."""

    n_steps: int = 2
    """Steps of the descent at inference."""
    loop: Loop = "coupled"
    """Which loss to train with; see the module."""
    readout: Readout = "distance"
    """How a network's output becomes an energy. With `distance` it says where the valley is, and
    descent lands there; with `product` it has to cancel the noise exactly, which small ones do
    badly."""
    timed: bool = True
    """Whether the coupled loop's network is told how noisy a chunk is. One energy for all levels of
    noise has to find out by itself, and is less exact; but descent on it can go on for as long as
    one likes."""
    step_size: float = 1.0
    """First value of alpha, which is learned, with a learning rate of 3 times this."""
    beta: float = 0.3
    """Where the loss turns from squared to absolute error, in normalised units."""
    zero: float = 0.0
    """Weight of the term that gives the energy an absolute zero: below it for what was seen, above
    it for other observations. Without it energies say nothing about an unfamiliar observation. It
    needs the readout `product`: at the bottom of a valley a distance is zero, whatever is seen."""
    momentum: float = 0.0
    """Nesterov momentum of the descent at inference."""
    train_steps: tuple[int, int] = (2, 3)
    """Fewest and most steps of the published loop."""
    step_spread: float = 2.0
    """The published loop draws alpha between itself divided by this and multiplied with it."""
    langevin: float = 0.05
    """Standard deviation of the published loop's noise at its first step; it falls to zero."""
    tolerance: float = 0.0
    """At inference, descent ends after a step shorter than this for every chunk (root mean square,
    in normalised units): where the slope is flat. 0 always takes every step."""

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise PolicyError(f"n_steps must be at least 1, got {self.n_steps}")
        for name, allowed in (("loop", get_args(Loop)), ("readout", get_args(Readout))):
            if getattr(self, name) not in allowed:
                raise PolicyError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for name in ("step_size", "beta"):
            if not 0 < getattr(self, name) < math.inf:
                raise PolicyError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("zero", "langevin", "tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise PolicyError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.zero and self.readout != "product":
            raise PolicyError(
                f"zero needs readout product: a distance has its zero in every valley, "
                f"got zero {self.zero} with {self.readout}"
            )
        if not 0 <= self.momentum < 1:
            raise PolicyError(f"momentum must lie in [0, 1), got {self.momentum}")
        low, high = self.train_steps
        if not 1 <= low <= high:
            raise PolicyError(f"train_steps must be two rising numbers, got {self.train_steps}")
        if not 1 <= self.step_spread < math.inf:
            raise PolicyError(f"step_spread must be at least 1, got {self.step_spread}")


class Energy(nn.Module, Generator):
    """Descent on a learned energy. Rows hold the step's share of alpha, t, and the momentum."""

    n_times = 1
    columns: tuple[str, ...] = ("share", "t", "momentum")
    STEP_SIZE_RATE = 3.0
    """Learning rate of alpha over the network's, per unit of its first value."""

    def __init__(self, config: EnergyConfig) -> None:
        """Begin with the step size of the settings; it is the only weight of its own."""
        super().__init__()
        self.config = config
        self.memory, self.tolerance = int(config.momentum > 0), config.tolerance
        self.timed = config.timed and config.loop == "coupled"
        self.step_size = nn.Parameter(torch.tensor(float(config.step_size)))

    def energy(
        self,
        network: Network,
        x: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        t: Tensor | float = 1.0,
    ) -> Float[Tensor, " batch"]:
        """Energy of chunks; low is good. Below zero is familiar, if trained with `zero`.

        Args:
            network: what the energy is made from.
            x: chunks, in normalised units.
            cond: what is observed.
            t: 1 less the share of noise in them, one for all or (B, 1); by default they have none.
        """
        times = x.new_zeros(x.shape[0], 1) + (t if self.timed else 0.0)
        output = network(x, times, cond)
        product = self.config.readout == "product"
        entries = x * output if product else 0.5 * (x - output).square()
        return entries.mean(dim=(1, 2))

    def _slope(
        self, network: Network, x: Tensor, cond: Tensor, t: Tensor | float, *, create_graph: bool
    ) -> tuple[Tensor, Tensor]:
        """Gradient of the energy, in units of single entries (B, H, A), and the energy (B,)."""
        with torch.enable_grad():
            x = x if create_graph and x.requires_grad else x.detach().requires_grad_()
            energy = self.energy(network, x, cond, t)
            (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=create_graph)
        return slope * x[0].numel(), energy

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """The step size, kept positive."""
        return self.step_size.clamp(min=1e-4)

    def loss(
        self,
        network: Network,
        chunk: Float[Tensor, "batch horizon action"],
        cond: Float[Tensor, "batch cond"],
        random: torch.Generator | None = None,
    ) -> Float[Tensor, "batch horizon action"]:
        """Error of where descent lands, for each entry."""
        noise = torch.randn(chunk.shape, generator=random, device=chunk.device, dtype=chunk.dtype)
        losses = {"coupled": self._coupled, "published": self._published}
        entries = losses[self.config.loop](network, chunk, noise, cond, random)
        if self.config.zero:
            entries = entries + self.config.zero * self._zero(network, chunk, cond, random)
        return entries

    def _land(self, x: Tensor, chunk: Tensor) -> Tensor:
        return functional.smooth_l1_loss(x, chunk, reduction="none", beta=self.config.beta)

    def _coupled(
        self,
        network: Network,
        chunk: Tensor,
        noise: Tensor,
        cond: Tensor,
        random: torch.Generator | None,
    ) -> Tensor:
        t = torch.rand(chunk.shape[0], 1, 1, generator=random, device=chunk.device).to(chunk)
        x = (1 - t) * noise + t * chunk
        slope, _ = self._slope(network, x, cond, t[:, 0], create_graph=True)
        return self._land(x - self.alpha * slope, chunk)

    def _published(
        self,
        network: Network,
        chunk: Tensor,
        noise: Tensor,
        cond: Tensor,
        random: torch.Generator | None,
    ) -> Tensor:
        low, high = self.config.train_steps
        steps = int(torch.randint(low, high + 1, (), generator=random, device=chunk.device))
        x, entries = noise, torch.zeros_like(chunk)
        for k in range(steps):
            shake = torch.randn(
                chunk.shape, generator=random, device=chunk.device, dtype=chunk.dtype
            )
            x = x.detach() + self.config.langevin * (1 - k / steps) * shake
            spread = 2 * torch.rand((), generator=random, device=chunk.device).to(chunk) - 1
            slope, _ = self._slope(network, x, cond, 1.0, create_graph=True)
            x = x - self.alpha * self.config.step_spread**spread * slope
            entries = entries + self._land(x, chunk) / steps
        return entries

    def _zero(
        self, network: Network, chunk: Tensor, cond: Tensor, random: torch.Generator | None
    ) -> Tensor:
        """Seen pairs below zero; the same actions under other conditions above it."""
        batch = cond.shape[0]
        others = cond.roll(1, dims=0)
        noise = torch.randn(cond.shape, generator=random, device=cond.device, dtype=cond.dtype)
        draw = torch.rand(batch, 3, generator=random, device=cond.device).to(cond)
        scale = 0.2 * 15 ** draw[:, :1]  # 0.2 to 3 standard deviations, evenly in the logarithm
        share = torch.rand(cond.shape, generator=random, device=cond.device).to(cond)
        noisy = cond + scale * cond.std(dim=0, keepdim=True) * noise * (share < draw[:, 1:2])
        unfamiliar = torch.where(draw[:, 2:] < 0.5, others, noisy)
        # Per entry, as the slope is: the mean of a chunk's energy is small.
        seen = self.energy(network, chunk, cond) * chunk[0].numel()
        unseen = self.energy(network, chunk, unfamiliar) * chunk[0].numel()
        return (functional.softplus(seen) + functional.softplus(-unseen)).mean()

    def table(self, n_steps: int | None = None) -> Float[Tensor, "steps columns"]:
        """Steps from noise to action, as many as a flow's; whole ones if t is not told.

        With t, the step from t = k / n goes 1 / (n - k) of the way to where descent lands: there
        the share of noise is that of the next t.

        Raises:
            PolicyError: fewer than one step.
        """
        steps = self.config.n_steps if n_steps is None else n_steps
        if steps < 1:
            raise PolicyError(f"a descent needs at least 1 step, got {steps}")
        k = torch.arange(steps)
        # Before the first step there was none to go on with.
        rows = torch.stack([torch.ones(steps), torch.zeros(steps), self.config.momentum * (k > 0)])
        if self.timed:
            rows[:2] = torch.stack([1 / (steps - k), k / steps])
        return rows.T.contiguous()

    def times(self, rows: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows calls times"]:
        """How far the way from noise to action is; zero if the network is not told."""
        return rows[..., None, 1:2]

    def step(
        self,
        network: Network,
        x: Float[Tensor, "batch state action"],
        row: Float[Tensor, " columns"],
        cond: Float[Tensor, "batch cond"],
    ) -> tuple[Float[Tensor, "batch state action"], Float[Tensor, " batch"]]:
        """One step down; the score is the energy there, before it."""
        share, _, momentum = row.unbind()
        now, before = x.chunk(2, dim=1) if self.memory else (x, x)
        ahead = now + momentum * (now - before)
        slope, energy = self._slope(network, ahead, cond, self.times(row), create_graph=False)
        result = (ahead - share * self.alpha * slope).detach()
        return (torch.cat([result, now], dim=1) if self.memory else result), energy.detach()
