import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from bridle.policies import Flow, FlowConfig

VELOCITY = Flow(FlowConfig(prediction="velocity"))


def linear_field(x: Tensor, time: Tensor, cond: Tensor) -> Tensor:
    """Exact velocity field of the flow from N(0, 1) to N(cond, s^2) with s = 0.5."""
    t, s = time[:, None, None], 0.5
    variance = (t * s) ** 2 + (1 - t) ** 2
    mean = cond[:, None, :1]
    return mean + (t * s**2 - (1 - t)) / variance * (x - t * mean)


def walk(flow: Flow, x: Tensor, cond: Tensor, n_steps: int) -> Tensor:
    for row in flow.table(n_steps):
        x, _ = flow.step(linear_field, x, row, cond)
    return x


def test_euler_converges_to_the_closed_form_of_gaussian_to_gaussian():
    # The flow of that field is the affine map x0 -> mean + s * x0 (optimal transport of Gaussians).
    torch.manual_seed(0)
    x = torch.randn(64, 4, 3)
    cond = torch.full((64, 1), 2.0)
    exact = 2.0 + 0.5 * x
    errors = [float((walk(VELOCITY, x, cond, n) - exact).abs().max()) for n in (64, 256)]
    assert errors[1] < 0.02
    assert errors[0] / errors[1] > 3  # first order: four times the steps, a quarter of the error


def test_the_table_covers_the_unit_interval_once():
    table = Flow(FlowConfig()).table(7)
    assert table.shape == (7, 2)
    assert torch.allclose(table[:, 0], torch.arange(7) / 7)
    assert torch.allclose(table[:, 1].sum(), torch.tensor(1.0))


def test_a_step_equals_the_euler_step_of_diffusers():
    # diffusers runs sigma from 1 (noise) to 0 with v = noise - data: the mirror image of ours.
    steps = 10
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / steps, steps).tolist())
    flow, cond = VELOCITY, torch.ones(5, 1)
    torch.manual_seed(1)
    x = theirs = torch.randn(5, 4, 3)
    for row, timestep in zip(flow.table(steps), scheduler.timesteps, strict=True):
        velocity = linear_field(theirs, row[0].expand(5), cond)
        theirs = scheduler.step(-velocity, timestep, theirs).prev_sample
        x, _ = flow.step(linear_field, x, row, cond)
        assert torch.allclose(x, theirs, atol=1e-6)


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
def test_the_loss_of_the_conditional_expectation_is_the_conditional_variance(prediction):
    # With one datum a and the exact field v = (a - x_t) / (1 - t) the loss vanishes.
    a = torch.full((256, 4, 3), 0.7)

    def exact(x: Tensor, time: Tensor, cond: Tensor) -> Tensor:
        ahead = a[:1].expand_as(x)
        return ahead if prediction == "sample" else (ahead - x) / (1 - time[:, :, None])

    random = torch.Generator().manual_seed(0)
    loss = Flow(FlowConfig(prediction=prediction)).loss(exact, a, torch.zeros(256, 1), random)
    assert float(loss.median()) < 1e-8


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_predicting_the_end_of_the_path_says_the_same_as_predicting_the_velocity(solver):
    def end(x: Tensor, times: Tensor, cond: Tensor) -> Tensor:
        return x + (1 - times[:, :, None]) * linear_field(x, times, cond)

    a, b = (Flow(FlowConfig(prediction=p, solver=solver)) for p in ("velocity", "sample"))
    x = y = torch.randn(32, 4, 3, dtype=torch.double)
    cond = torch.randn(32, 1, dtype=torch.double)
    for row in a.table(5).double():
        (x, p), (y, q) = a.step(linear_field, x, row, cond), b.step(end, y, row, cond)
        assert torch.allclose(p, q)
    assert torch.allclose(x, y)


def test_the_loss_is_reproducible_from_its_generator():
    flow, a = Flow(FlowConfig()), torch.randn(8, 4, 3)
    first, second = (
        flow.loss(linear_field, a, torch.ones(8, 1), torch.Generator().manual_seed(5))
        for _ in range(2)
    )
    assert torch.equal(first, second)
