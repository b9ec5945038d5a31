"""Make a run of a policy that was trained elsewhere, with equal outputs.

A diffusion policy of LeRobot (config.json, model.safetensors and the files of its processors) is
read without LeRobot. The run can be evaluated and exported like one of `bridle train`:

bridle import lerobot outputs/push/checkpoints/last/pretrained_model --out runs/push
--task pick-place --rate 20 --robot ur5e_2f85
--map observation.state=joint_position:6+gripper:1 --map observation.images.top=camera_front
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional, UseAppendAction

from bridle import sim
from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy.robot import load_robot
from bridle.training.importing import ImportConfig, import_lerobot
from bridle.training.importing.importing import UNKNOWN

SIMULATED = "ur5e_2f85"
"""The robot whose kinematics come with Bridle."""


@dataclass(frozen=True)
class Options:
    """Options of `bridle import`."""

    origin: Positional[Literal["lerobot"]]
    """Where it was trained."""
    path: Positional[Path]
    """Folder of the policy, the one with config.json: of a checkpoint, its pretrained_model."""
    out: Path
    """Run folder to create."""
    task: str
    """Name of the task; `bridle evaluate` takes it for the one to evaluate on."""
    rate: float
    """Actions per second in the data it was trained on (`fps`) [Hz]."""
    robot: str | None = None
    """Robot that it moves, by name or by its .yaml; needed to export."""
    kinematics: Path | None = None
    """MJCF file of the robot's kinematics; needed to export for robots other than ur5e_2f85."""
    map: UseAppendAction[tuple[str, ...]] = ()
    """FEATURE=KEY says what an input is called here, FEATURE=KEY:SIZE+KEY:SIZE the parts of a
    state. Otherwise observation.state is joint_position, observation.environment_state is
    object_state, and observation.images.top is camera_top."""
    steps: int | None = None
    """Steps in which chunks are sampled; by default as many as in LeRobot."""
    json: Path | None = None
    """Write the result here."""


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "import", arguments, __doc__)
    result = import_lerobot(
        ImportConfig(
            path=options.path,
            out=options.out,
            task=options.task,
            rate=options.rate,
            robot=options.robot or UNKNOWN,
            keys=_keys(options.map),
            n_steps=options.steps,
        ),
        robot_xml=_kinematics(options),
        joint_names=load_robot(options.robot).joint_names if options.robot else None,
    )
    observed = ", ".join(f"{key} {shape}" for key, shape in result.inputs.items())
    print(
        f"{result.run}: {result.parameters:,} parameters, {result.n_steps} sampling steps; "
        f"observes {observed}; gives {result.action_size} numbers an action"
    )
    for note in result.notes:
        print(f"note: {note}")
    write_json(options.json, result)


def _keys(rules: Sequence[str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for rule in rules:
        name, equals, key = rule.partition("=")
        if not (name and equals and key) or name in keys:
            raise ValueError(f"--map is written FEATURE=KEY, once for each, got {rule!r}")
        keys[name] = key
    return keys


def _kinematics(options: Options) -> str | None:
    """The arm's kinematics, given or those that come with Bridle.

    Raises:
        ValueError: the file cannot be read as MJCF.
    """
    if options.kinematics is None:
        return sim.kinematics_xml() if options.robot == SIMULATED else None
    import mujoco

    text = options.kinematics.read_text(encoding="utf-8")
    mujoco.MjModel.from_xml_string(text)
    return text
