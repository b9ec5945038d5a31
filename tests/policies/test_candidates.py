import torch

from bridle.policies.candidates import cheapest, past_action_error


def test_the_error_is_that_of_the_past_alone_in_units_of_the_scale():
    executed = torch.randn(3, 2, 4)
    chunks = torch.randn(3, 5, 6, 4)
    scale = torch.tensor([1.0, 2.0, 0.5, 1.0])
    expected = (((chunks[:, :, :2] - executed[:, None]) / scale) ** 2).mean(dim=(2, 3))
    assert torch.allclose(past_action_error(chunks, executed, scale), expected)
    changed = chunks.clone()
    changed[:, :, 2:] += 10
    assert torch.allclose(past_action_error(changed, executed, scale), expected)


def test_what_was_not_executed_yet_does_not_count():
    executed, chunks = torch.randn(2, 3, 4), torch.randn(2, 5, 6, 4)
    executed[0, 0], executed[1] = torch.nan, torch.nan
    error = past_action_error(chunks, executed, torch.ones(4))
    expected = (chunks[0, :, 1:3] - executed[0, 1:]).square().mean(dim=(1, 2))
    assert torch.allclose(error[0], expected)
    assert torch.equal(error[1], torch.zeros(5))


def test_the_cheapest_is_taken_and_the_first_of_equals():
    chunks = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4, 1)
    costs = torch.tensor([[2.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
    assert torch.equal(cheapest(chunks, costs), torch.stack([chunks[0, 1], chunks[1, 0]]))


def test_a_candidate_without_a_cost_is_not_taken():
    chunks = torch.arange(3 * 4.0).reshape(1, 3, 4, 1)
    assert torch.equal(cheapest(chunks, torch.tensor([[torch.nan, 5.0, torch.nan]])), chunks[:, 1])
