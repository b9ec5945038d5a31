"""What holds for every generator with every network."""

import math

import pytest
import torch

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators import (
    GENERATORS,
    Diffusion,
    DiffusionConfig,
    Energy,
    EnergyConfig,
    Flow,
    FlowConfig,
    Generator,
    Regression,
    RegressionConfig,
    Shortcut,
    ShortcutConfig,
    build_generator,
)
from bridle.policies.networks import (
    NETWORKS,
    MLPConfig,
    TransformerConfig,
    UNetConfig,
    build_network,
)

SETTINGS = {
    "ddim": DiffusionConfig(n_steps=5),
    "dpm-solver++": DiffusionConfig(sampler="dpm-solver++", n_steps=5, prediction="sample"),
    "flow": FlowConfig(n_steps=4),
    "midpoint": FlowConfig(n_steps=2, solver="midpoint", times="beta", beta=0.3),
    "logit-normal": FlowConfig(times="logit-normal", prediction="velocity"),
    "shortcut": ShortcutConfig(n_steps=2, finest=16),
    "energy": EnergyConfig(),
    "untimed": EnergyConfig(timed=False),
    "zero": EnergyConfig(readout="product", zero=0.03),
    "momentum": EnergyConfig(readout="product", momentum=0.5, n_steps=3, tolerance=1e-3),
    "published": EnergyConfig(loop="published", readout="product"),
    "regression": RegressionConfig(),
}
SMALL = {
    "mlp": MLPConfig(width=64, blocks=2, time_channels=16),
    "unet": UNetConfig(channels=(16, 32), groups=4, time_channels=16),
    "transformer": TransformerConfig(width=32, layers=2, heads=2, time_channels=16),
}
HORIZON, ACTION, COND = 8, 3, 5


def network_for(generator, kind="mlp"):
    torch.manual_seed(0)
    return build_network(
        SMALL[kind],
        horizon=HORIZON,
        action_size=ACTION,
        cond_size=COND,
        n_times=generator.n_times,
    )


def sample(generator, network, noise, cond, n_steps=None):
    x = generator.start(noise)
    for row in generator.table(n_steps):
        x, score = generator.step(network, x, row, cond)
        assert score.shape == noise.shape[:1]
        assert not x.requires_grad or torch.is_grad_enabled()
    return generator.finish(x)


def train(generator, network, chunks, conds, steps, rate=3e-3, seed=0):
    random = torch.Generator().manual_seed(seed)
    groups = [{"params": network.parameters(), "lr": rate}]
    if isinstance(generator, Energy):
        scale = generator.STEP_SIZE_RATE * generator.config.step_size
        groups.append({"params": generator.parameters(), "lr": rate * scale})
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for _ in range(steps):
        pick = torch.randint(len(chunks), (128,), generator=random)
        loss = generator.loss(network, chunks[pick], conds[pick], random).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def test_the_tables_name_every_kind():
    assert {type(config) for config in SETTINGS.values()} == {k for k, _ in GENERATORS.values()}
    assert {type(config) for config in SMALL.values()} == {k for k, _ in NETWORKS.values()}


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("name", SETTINGS)
def test_any_network_goes_with_any_generator(name, kind):
    generator = build_generator(SETTINGS[name])
    assert isinstance(generator, Generator)
    network = network_for(generator, kind)
    chunk, cond = torch.randn(6, HORIZON, ACTION), torch.randn(6, COND)
    entries = generator.loss(network, chunk, cond, torch.Generator().manual_seed(1))
    assert entries.shape == chunk.shape
    assert entries.isfinite().all()
    entries.mean().backward()
    grown = [p.grad is not None for p in network.parameters()]
    assert sum(grown) >= 0.9 * len(grown)
    with torch.no_grad():
        assert sample(generator, network, chunk, cond).shape == chunk.shape
    assert generator.table().shape[1] == len(generator.columns)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_tells_the_network_the_times_of_its_row(name):
    generator = build_generator(SETTINGS[name])
    network = network_for(generator)
    told = []

    def listening(x, times, cond):
        told.append(times)
        return network(x, times, cond)

    chunk, cond = torch.randn(3, HORIZON, ACTION), torch.randn(3, COND)
    table = generator.table()
    for row, times in zip(table, generator.times(table), strict=True):
        told.clear()
        generator.step(listening, generator.start(chunk), row, cond)
        assert torch.equal(torch.stack(told, dim=1), times.expand(3, -1, generator.n_times))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_seed_gives_the_same_loss_and_the_same_noise_the_same_chunk(name):
    generator = build_generator(SETTINGS[name])
    network = network_for(generator)
    chunk, cond = torch.randn(6, HORIZON, ACTION), torch.randn(6, COND)
    losses = [
        generator.loss(network, chunk, cond, torch.Generator().manual_seed(3)) for _ in range(2)
    ]
    assert torch.equal(*losses)
    assert torch.equal(*(sample(generator, network, chunk, cond) for _ in range(2)))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_generator_learns_where_the_condition_leads(name):
    """Chunks are a function of the condition: all must find it."""
    generator = build_generator(SETTINGS[name])
    network = network_for(generator)
    random = torch.Generator().manual_seed(5)
    conds = torch.randn(2048, COND, generator=random)
    ramp = torch.linspace(-1, 1, HORIZON)[None, :, None]
    chunks = torch.sin(conds[:, None, :ACTION]) * ramp + 0.5 * conds[:, None, 1:2]
    # A diffusion learns its many noise levels more slowly than the others their straight paths.
    train(generator, network, chunks, conds, 1500 if isinstance(generator, Diffusion) else 500)
    noise = torch.randn(256, HORIZON, ACTION, generator=random)
    with torch.no_grad():
        given = sample(generator, network, noise, conds[:256])
    error = (given - chunks[:256]).square().mean() / chunks[:256].square().mean()
    assert error < 0.2


def test_a_flow_between_gaussians_is_the_closed_form():
    """From N(0, 1) to N(m, s^2) the velocity is linear in x, and the path is x1 = m + s x0."""
    mean, spread = 0.7, 0.4

    def ideal(x, times, cond):
        t = times[:, :, None]
        variance = (1 - t) ** 2 + (t * spread) ** 2
        # E[x1 - x0 | x_t] for independent ends.
        return mean + (t * spread**2 - (1 - t)) / variance * (x - t * mean)

    noise = torch.randn(64, HORIZON, ACTION, dtype=torch.double)
    expected = mean + spread * noise
    errors = {}
    for solver in ("euler", "midpoint"):
        flow = Flow(FlowConfig(solver=solver, prediction="velocity"))
        for steps in (8, 64):
            x = noise
            for row in flow.table(steps).double():
                x, _ = flow.step(ideal, x, row, noise[:, 0])
            errors[solver, steps] = float((x - expected).abs().max())
    assert errors["euler", 64] < 0.05
    # Orders of convergence: one, and two.
    assert errors["euler", 8] / errors["euler", 64] == pytest.approx(8, rel=0.4)
    assert errors["midpoint", 8] / errors["midpoint", 64] > 30


@pytest.mark.parametrize("times", ["uniform", "logit-normal", "beta"])
def test_times_follow_their_distribution(times):
    flow = Flow(FlowConfig(times=times))
    drawn = flow._draw_times(torch.zeros(200_000, 1, 1), torch.Generator().manual_seed(0))
    # Means: of U(0, 1); of a sigmoid of N(0, 1); of 1 - Beta(1.5, 1).
    mean = {"uniform": 0.5, "logit-normal": 0.5, "beta": 1 - 1.5 / 2.5}[times]
    spread = {"uniform": math.sqrt(1 / 12), "logit-normal": 0.2083, "beta": 0.2619}[times]
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.003)
    assert float(drawn.std()) == pytest.approx(spread, abs=0.003)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_shortcut_agrees_with_itself():
    """After training one long step leads where two short ones lead."""
    generator = Shortcut(ShortcutConfig(finest=16))
    network = network_for(generator)
    random = torch.Generator().manual_seed(2)
    sides = torch.randint(0, 2, (2048, 1, 1), generator=random) * 2.0 - 1
    chunks = sides + 0.1 * torch.randn(2048, HORIZON, ACTION, generator=random)
    conds = torch.zeros(2048, COND)
    train(generator, network, chunks, conds, 1200)
    noise = torch.randn(512, HORIZON, ACTION, generator=random)
    with torch.no_grad():
        one, four, many = (sample(generator, network, noise, conds[:512], n) for n in (1, 4, 16))
    assert (one - many).square().mean() < 0.2
    assert (four - many).square().mean() < 0.10
    # One step of a plain flow is the mean of both sides, 0; a shortcut's is on one of them.
    assert one.mean(dim=(1, 2)).abs().mean() > 0.7


@pytest.fixture(scope="module")
def two_ways():
    """Chunks that go left in 70 of 100 cases and right in the others, whatever the condition."""
    random = torch.Generator().manual_seed(7)
    sides = torch.where(torch.rand(4096, 1, 1, generator=random) < 0.7, 1.0, -1.0)
    bend = torch.sin(torch.linspace(0, math.pi, HORIZON))[None, :, None]
    chunks = sides * bend + 0.05 * torch.randn(4096, HORIZON, ACTION, generator=random)
    return chunks, 0.1 * torch.randn(4096, COND, generator=random), bend


def _sides(given, bend):
    """How far each chunk goes to a side, 1 being all the way."""
    return (given * bend).sum(dim=(1, 2)) / (bend**2).sum() / ACTION


def test_coupled_descent_keeps_both_ways_and_the_published_loop_averages_them(two_ways):
    chunks, conds, bend = two_ways
    noise = torch.randn(400, HORIZON, ACTION, generator=torch.Generator().manual_seed(1))
    between = {}
    for name, config in {
        "coupled": EnergyConfig(n_steps=2),
        "untimed": EnergyConfig(n_steps=2, timed=False),
        "published": EnergyConfig(loop="published", beta=10.0, n_steps=2),
    }.items():
        generator = Energy(config)
        network = network_for(generator)
        train(generator, network, chunks, conds, 700)
        side = _sides(sample(generator, network, noise, conds[:400]), bend)
        between[name] = float((side.abs() < 0.5).float().mean())
        if name != "published":
            assert 0.55 < float((side > 0).float().mean()) < 0.9
    assert between["coupled"] < 0.1
    assert between["untimed"] < 0.1
    assert between["published"] > 0.8


def test_a_regression_gives_what_lies_between(two_ways):
    chunks, conds, bend = two_ways
    generator = Regression(RegressionConfig())
    network = network_for(generator)
    train(generator, network, chunks, conds, 300)
    with torch.no_grad():
        side = _sides(sample(generator, network, chunks[:100], conds[:100]), bend)
    # The mean of 70 % at 1 and 30 % at -1.
    assert float(side.mean()) == pytest.approx(0.4, abs=0.1)
    assert float(side.std()) < 0.1


@pytest.mark.parametrize("timed", [True, False])
def test_descent_lowers_the_energy_on_unseen_data(two_ways, timed):
    chunks, conds, _ = two_ways
    generator = Energy(EnergyConfig(timed=timed))
    network = network_for(generator)
    train(generator, network, chunks[:2048], conds[:2048], 400)
    held = conds[2048:2304]
    x, down = torch.randn(256, HORIZON, ACTION), []
    for row in generator.table(4)[:2]:
        lower, energy = generator.step(network, x, row, held)
        # Energies of one level of noise can be compared.
        with torch.no_grad():
            assert torch.allclose(energy, generator.energy(network, x, held, row[1]))
            down.append(generator.energy(network, lower, held, row[1]) < energy)
        x = lower
    assert torch.stack(down).float().mean() > 0.95
    # Real chunks lie lower than disturbed ones.
    real = generator.energy(network, chunks[2048:2304], held)
    other = generator.energy(
        network, chunks[2048:2304] + 0.5 * torch.randn(256, HORIZON, ACTION), held
    )
    assert (real < other).float().mean() > 0.9


def test_an_absolute_zero_tells_the_familiar_from_the_unfamiliar():
    random = torch.Generator().manual_seed(9)
    conds = torch.randn(4096, COND, generator=random)
    conds[:, 1:] = 0.1 * conds[:, 1:] + conds[:, :1]  # what is seen lies near a line
    chunks = conds[:, None, :ACTION].expand(-1, HORIZON, -1).clone()
    generator = Energy(EnergyConfig(readout="product", zero=0.1))
    network = network_for(generator)
    train(generator, network, chunks, conds, 900)
    noise = torch.randn(256, HORIZON, ACTION, generator=random)

    def final(cond):
        given = sample(generator, network, noise, cond)
        with torch.no_grad():
            return generator.energy(network, given, cond)

    seen = final(conds[:256])
    unseen = final(torch.randn(256, COND, generator=random))
    area = (seen[:, None] < unseen[None]).float().mean()
    assert area > 0.7


def test_steps_of_an_energy_that_is_told_the_noise_are_on_the_grid_of_a_flow():
    energy, flow = Energy(EnergyConfig()), Flow(FlowConfig())
    assert torch.equal(energy.table(5)[:, 1], flow.table(5)[:, 0])
    # Noise and action known, every step lands where its t says.
    noise, action = torch.randn(2, 4, HORIZON, ACTION)
    x = noise
    for share, t, _ in energy.table(5):
        assert torch.allclose(x, (1 - t) * noise + t * action, atol=1e-5)
        x = x + share * (action - x)
    assert torch.allclose(x, action, atol=1e-5)
    for config in (EnergyConfig(timed=False), EnergyConfig(loop="published")):
        assert torch.equal(Energy(config).table(3)[:, 0], torch.ones(3))


def test_a_step_with_momentum_goes_on_and_the_first_one_has_nothing_to_go_on_with():
    plain, nesterov = (Energy(EnergyConfig(timed=False, momentum=m)) for m in (0.0, 0.5))
    network = network_for(plain)
    noise, cond = torch.randn(4, HORIZON, ACTION), torch.randn(4, COND)
    a, b = plain.start(noise), nesterov.start(noise)
    rows = list(zip(plain.table(2), nesterov.table(2), strict=True))
    a, _ = plain.step(network, a, rows[0][0], cond)
    b, _ = nesterov.step(network, b, rows[0][1], cond)
    assert torch.equal(a, nesterov.finish(b))
    b, _ = nesterov.step(network, b, rows[1][1], cond)
    ahead, _ = plain.step(network, a + 0.5 * (a - noise), rows[1][0], cond)
    assert torch.allclose(nesterov.finish(b), ahead)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlowConfig(n_steps=0), "n_steps must be at least 1"),
        (lambda: FlowConfig(times="late"), "times must be one of"),
        (lambda: FlowConfig(solver="rk4"), "solver must be one of"),
        (lambda: FlowConfig(beta=-1.0), "beta must be"),
        (lambda: ShortcutConfig(n_steps=3), "power of two"),
        (lambda: ShortcutConfig(n_steps=64, finest=16), "at least 2 and n_steps"),
        (lambda: ShortcutConfig(consistency=1.0), "consistency"),
        (lambda: ShortcutConfig(solver="midpoint"), "must be euler"),
        (lambda: EnergyConfig(n_steps=0), "n_steps must be at least 1"),
        (lambda: EnergyConfig(loop="other"), "loop must be one of"),
        (lambda: EnergyConfig(step_size=0.0), "step_size must be positive"),
        (lambda: EnergyConfig(readout="sum"), "readout must be one of distance, product"),
        (lambda: EnergyConfig(zero=0.1), "zero needs readout product"),
        (lambda: EnergyConfig(momentum=1.0), "momentum must lie in"),
        (lambda: EnergyConfig(train_steps=(3, 2)), "two rising numbers"),
        (lambda: EnergyConfig(zero=float("nan")), "zero must not be negative"),
        (lambda: UNetConfig(channels=(10,)), "multiples of groups"),
        (lambda: UNetConfig(kernel=4), "kernel must be odd"),
        (lambda: UNetConfig(activation="relu"), "silu or mish"),
        (lambda: TransformerConfig(width=10, heads=4), "multiple of heads"),
        (lambda: MLPConfig(width=0), "must be positive"),
        (lambda: Flow(FlowConfig()).table(0), "at least 1 step"),
        (lambda: Shortcut(ShortcutConfig()).table(3), "power of two"),
        (lambda: Energy(EnergyConfig()).table(0), "at least 1 step"),
        (lambda: Regression(RegressionConfig()).table(2), "takes 1 step"),
        (
            lambda: build_network(UNetConfig(), horizon=6, action_size=1, cond_size=1, n_times=1),
            "multiple of 4",
        ),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(PolicyError, match=message):
        make()
