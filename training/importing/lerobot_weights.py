"""LeRobot's weights under Bridle's names, in Bridle's order.

The networks are the same but for the order of two things: LeRobot's condition goes step by step
through [state, pictures, environment], Bridle's through the states of all steps and then the
pictures of all steps; and its points are x, y, x, y, Bridle's x, x, y, y. Both are the columns of
the layers that read them.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from bridle.training.exceptions import TrainingError

_UNET = (
    (r"^unet\.", "network."),
    (r"diffusion_step_encoder\.", "time."),
    (r"(down|up)_modules\.(\d+)\.0\.", r"\1.\2.first."),
    (r"(down|up)_modules\.(\d+)\.1\.", r"\1.\2.second."),
    (r"(down|up)_modules\.(\d+)\.2\.", r"\1.\2.leave."),
    (r"mid_modules\.", "middle."),
    (r"final_conv\.0\.block\.", "output.0."),
    (r"final_conv\.1\.", "output.1."),
    (r"conv1\.block\.", "first."),
    (r"conv2\.block\.", "second."),
    (r"cond_encoder\.", "film."),
    (r"residual_conv\.", "shortcut."),
)
_EYE = (
    (r"^rgb_encoder\.(\d+)\.", r"encoder.parts.1.eyes.\1."),
    (r"^rgb_encoder\.", "encoder.parts.1.eyes.0."),
    (r"pool\.nets\.", "locate.mix."),
    (r"\.bn([12])\.", r".norm\1."),
    (r"downsample\.", "around."),
)
_STAGE = re.compile(r"backbone\.(\d+)\.(?:(\d+)\.)?")
FIRST_STAGE = 4
"""Place of ResNet's first stage; before it are a convolution, its norm, ReLU and pooling."""
PREFIX = "diffusion."
COMPILED = "_orig_mod."
"""What compiling puts into the names of what it compiled."""
COMPUTED = "pool.pos_grid"


def renamed(name: str) -> str:
    """Bridle's name of a weight."""
    for pattern, replacement in _UNET if name.startswith("unet.") else _EYE:
        name = re.sub(pattern, replacement, name)
    return _STAGE.sub(_body, name)


def _body(match: re.Match[str]) -> str:
    """A block of a ResNet by its place among all of them: each stage has two."""
    stage, block = int(match[1]), int(match[2] or 0)
    return f"body.{stage if stage < FIRST_STAGE else 2 * stage - FIRST_STAGE + block}."


def translated(
    weights: Mapping[str, Tensor],
    *,
    n_obs_steps: int,
    sizes: tuple[int, int, int],
    scales: bool,
) -> dict[str, Tensor]:
    """Weights of a LeRobot policy as Bridle's policy of the same structure has them.

    Args:
        weights: by LeRobot's names; those of normalisation are left out.
        n_obs_steps: observations in the history.
        sizes: numbers of the state, of all pictures and of the environment in one step.
        scales: whether conditions scale channels as well as shift them.
    """
    order = _condition_order(n_obs_steps, sizes)
    found = {}
    for name, values in weights.items():
        if not name.startswith(PREFIX) or name.endswith(COMPUTED):
            continue
        ours = renamed(name.removeprefix(PREFIX).replace(COMPILED, ""))
        if ours.startswith("network.") and ".film." in ours:
            found[ours] = _film(ours, values, order, scales)
        elif ".eyes." in ours and ours.endswith(".out.weight"):
            found[ours] = torch.cat([values[:, 0::2], values[:, 1::2]], dim=1)
        else:
            found[ours] = values
    return found


def _condition_order(n_obs_steps: int, sizes: tuple[int, int, int]) -> Tensor:
    """Place in LeRobot's condition of each entry of Bridle's."""
    places = torch.arange(n_obs_steps * sum(sizes)).view(n_obs_steps, -1)
    state, pictures, environment = torch.split(places, list(sizes), dim=1)
    return torch.cat([torch.cat([state, environment], dim=1).flatten(), pictures.flatten()])


def _film(name: str, values: Tensor, order: Tensor, scales: bool) -> Tensor:
    """The layer that makes scales and shifts of times and condition."""
    if name.endswith("weight"):
        times = values.shape[1] - len(order)
        if times > 0:
            columns = torch.cat([torch.arange(times), times + order])
            values = values[:, columns]
    if scales:
        return values
    # Without scales, all of them are one.
    neutral = torch.zeros_like(values) if name.endswith("weight") else torch.ones_like(values)
    return torch.cat([neutral, values])


def check_fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of a structure.

    Raises:
        TrainingError: one is missing, too many, or of another shape, by Bridle's name.
    """
    for name, values in wanted.items():
        if name not in found:
            raise TrainingError(f"the weights lack what becomes {name}; is it the whole policy?")
        if found[name].shape != values.shape:
            raise TrainingError(
                f"the weights do not fit the settings: {name} is {tuple(found[name].shape)}, by "
                f"config.json it is {tuple(values.shape)}"
            )
        if not found[name].isfinite().all():
            raise TrainingError(f"{name} has weights that are not finite")
    if unknown := sorted(found.keys() - wanted.keys()):
        raise TrainingError(f"the weights have {unknown[0]}, for which there is no counterpart")
