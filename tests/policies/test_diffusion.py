"""Every sampler walks as the scheduler of diffusers that it is read off."""

import pytest
import torch

from bridle.policies.exceptions import PolicyError
from bridle.policies.generators.diffusion import Diffusion, DiffusionConfig

SAMPLERS = ("ddim", "ddpm", "dpm-solver++")
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def scheduler_of(config):
    """What diffusers walks with; its DPM-Solver++ is taught to clip, as ours can."""
    scheduler = config.scheduler()
    if config.sampler == "dpm-solver++" and config.clip:
        estimate = scheduler.convert_model_output
        scheduler.convert_model_output = lambda *a, **k: estimate(*a, **k).clamp(
            -config.clip, config.clip
        )
    return scheduler


def network(x, times, cond):
    """Some smooth function of everything."""
    return torch.sin(3 * x + times[:, :, None]) + 0.3 * cond[:, None, :1] * x


@pytest.fixture
def chosen_noise(monkeypatch):
    """Make DDPM add the noise it is given."""

    def choose(noise):
        module = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
        monkeypatch.setattr(module, lambda *_, **__: noise)

    return choose


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("n_steps", [1, 2, 10, 20, 50])
@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_every_step_is_that_of_diffusers(prediction, sampler, n_steps, clip, chosen_noise):
    config = DiffusionConfig(prediction=prediction, sampler=sampler, clip=clip)
    generator, scheduler = Diffusion(config), scheduler_of(config)
    # Its own arithmetic is single precision, which 1 - alpha does not survive near the clean end.
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.alphas = scheduler.alphas.double()
    scheduler.set_timesteps(n_steps)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, 3, generator=random, dtype=torch.double)
    cond = torch.randn(4, 5, generator=random, dtype=torch.double)
    memory = torch.zeros_like(x)
    for row, t in zip(generator.table(n_steps).double(), scheduler.timesteps, strict=True):
        noise = torch.randn(4, 8, 3, generator=random, dtype=torch.double)
        chosen_noise(noise)
        state = torch.cat([x, memory], dim=1) if sampler == "dpm-solver++" else x
        state, _ = generator.step(network, state, row, cond)
        ours = generator.finish(state) + row[-1] * noise
        times = torch.full((4, 1), float(t) / 100, dtype=torch.double)
        theirs = scheduler.step(network(x, times, cond), t, x).prev_sample
        assert (ours - theirs).abs().max() < 1e-6 * max(1.0, float(theirs.abs().max()))
        x, memory = theirs, state.chunk(2, dim=1)[1]


@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
def test_a_whole_walk_ends_where_diffusers_ends(sampler):
    config = DiffusionConfig(sampler=sampler, clip=1.0)
    generator, scheduler = Diffusion(config), scheduler_of(config)
    noise, cond = torch.randn(4, 8, 3), torch.randn(4, 5)
    x = generator.start(noise)
    for row in generator.table():
        x, score = generator.step(network, x, row, cond)
        assert score.shape == (4,)
    scheduler.set_timesteps(config.n_steps)
    y = noise
    for t in scheduler.timesteps:
        y = scheduler.step(network(y, torch.full((4, 1), float(t) / 100), cond), t, y).prev_sample
    assert (generator.finish(x) - y).abs().max() < 1e-4 * max(1.0, float(y.abs().max()))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_zero_for_the_network_that_knows(prediction):
    """With one training chunk the ideal prediction follows from x alone."""
    config = DiffusionConfig(prediction=prediction)
    generator = Diffusion(config)
    chunk = torch.randn(1, 8, 3).expand(64, 8, 3)
    kept = config.scheduler().alphas_cumprod

    def ideal(x, times, cond):
        alpha, sigma = (
            (schedule.sqrt())[(times[:, 0] * 100).round().long()][:, None, None]
            for schedule in (kept, 1 - kept)
        )
        noise = (x - alpha * chunk) / sigma
        v = alpha * noise - sigma * chunk
        return {"epsilon": noise, "sample": chunk, "v_prediction": v}[prediction]

    entries = generator.loss(ideal, chunk, torch.zeros(64, 5))
    assert entries.shape == chunk.shape
    assert entries.max() < 1e-4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_network_that_knows_is_led_to_what_it_knows(sampler):
    config = DiffusionConfig(prediction="sample", sampler=sampler)
    generator = Diffusion(config)
    chunk = torch.randn(5, 8, 3)
    x = generator.start(torch.randn(5, 8, 3))
    for row in generator.table():
        x, score = generator.step(lambda x, times, cond: chunk, x, row, torch.zeros(5, 1))
    assert (generator.finish(x) - chunk).abs().max() < 1e-4
    assert score.max() < 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"prediction": "x"}, "prediction must be one of epsilon"),
        ({"sampler": "euler"}, "sampler must be one of ddim"),
        ({"n_steps": 0}, "n_steps must lie in"),
        ({"n_steps": 101}, "n_steps must lie in"),
        ({"clip": -1.0}, "clip must not be negative"),
        ({"clip": float("nan")}, "clip must not be negative"),
        ({"schedule": "wavy"}, "schedule 'wavy'"),
    ],
)
def test_wrong_settings_are_refused(setting, message):
    with pytest.raises(PolicyError, match=message):
        DiffusionConfig(**setting)


@pytest.mark.parametrize("n_steps", [0, 101])
def test_a_table_of_too_few_or_too_many_steps_is_refused(n_steps):
    with pytest.raises(PolicyError, match="1 to as many"):
        Diffusion(DiffusionConfig()).table(n_steps)


def test_a_walk_that_would_step_on_the_spot_is_refused():
    with pytest.raises(PolicyError, match="100 different steps"):
        Diffusion(DiffusionConfig(sampler="dpm-solver++")).table(100)
