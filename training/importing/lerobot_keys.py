"""What LeRobot's observations are called here, where a state may be several of them."""

from collections.abc import Mapping

from bridle.training.converters.keys import camera_key, identifier
from bridle.training.demonstrations.schema import CAMERA_PREFIX
from bridle.training.exceptions import TrainingError
from bridle.training.importing.lerobot_config import ACTION, ENVIRONMENT, STATE, DiffusionSettings

DEFAULT_KEYS = {STATE: "joint_position", ENVIRONMENT: "object_state"}
Parts = Mapping[str, Mapping[str, int]]
"""LeRobot's state -> Bridle's keys and their channels; its camera -> one key and no number."""


def keys_of(settings: DiffusionSettings, given: Mapping[str, str]) -> Parts:
    """What every input is called here.

    Args:
        settings: of the policy.
        given: what a person says: `key`, or `key:size+key:size` for the parts of a state.

    Raises:
        TrainingError: there is no such input, a key would be used twice, or sizes do not add up.
    """
    names = [name for name in settings.used if name != ACTION]
    if unknown := sorted(given.keys() - set(names)):
        raise TrainingError(f"--map: there is no {unknown[0]}; there are {', '.join(names)}")
    found: dict[str, dict[str, int]] = {}
    for name in names:
        if name in settings.cameras:
            short = name.removeprefix("observation.").removeprefix("images.").removeprefix("image.")
            key = given.get(name, camera_key(short))
            if not key.startswith(CAMERA_PREFIX) or key != identifier(key):
                raise TrainingError(
                    f"--map: pictures are called {CAMERA_PREFIX}<name>, got {name}={key}"
                )
            found[name] = {key: 0}
        else:
            found[name] = _parts(name, given.get(name, DEFAULT_KEYS[name]), settings.vector(name))
    every = [key for parts in found.values() for key in parts]
    if twice := sorted({key for key in every if every.count(key) > 1}):
        raise TrainingError(f"--map: two inputs would be called {twice[0]}")
    return found


def _parts(name: str, text: str, size: int | None) -> dict[str, int]:
    parts: dict[str, int] = {}
    texts = text.split("+")
    for part in texts:
        key, colon, digits = part.partition(":")
        if key != identifier(key) or key.startswith(CAMERA_PREFIX) or key in parts:
            raise TrainingError(f"--map: {name} cannot become {part!r} of {text!r}")
        if len(texts) > 1 or colon:
            if not digits.isdecimal() or int(digits) < 1:
                raise TrainingError(
                    f"--map: each part of {name} has its size, as in joint_position:6+gripper:1, "
                    f"got {part!r}"
                )
            parts[key] = int(digits)
        else:
            parts[key] = size or 0
    if sum(parts.values()) != size:
        raise TrainingError(f"--map: {name} has {size} channels, {text!r} {sum(parts.values())}")
    return parts
