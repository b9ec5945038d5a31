"""The scripted oracles in the ogbench wheel as experts that say what they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridle.sim.adapters.base import Disturbance
from bridle.sim.adapters.randomness import OwnRandomness
from bridle.sim.expert import ExpertAction

if TYPE_CHECKING:
    from bridle.sim.adapters.ogbench import OGBenchEnv

Kind = Literal["plan", "markov"]
ORACLES: tuple[Kind, ...] = get_args(Kind)

METRES = 0.05
"""Motion of the tool that an action of 1 asks for [m]."""


@dataclass(frozen=True)
class Thing:
    """Something that an episode can be about."""

    kind: str
    """cube, button, drawer or window."""
    index: int
    """Among those of its kind."""
    name: str
    """What a person calls what the tool goes to."""
    goals: tuple[str, ...]
    """What there is to do with it; open before close."""


@dataclass(frozen=True)
class Words:
    """What an oracle does, in words with {it} for the thing."""

    markov: tuple[str, ...]
    """Of the phases that a Markov oracle numbers from 1."""
    plan: dict[str, str]
    """Of the way to each keyframe of a plan."""


_CLOSE, _OPEN, _UP, _AWAY = "close the gripper", "open the gripper", "move up", "move away"
_CUBE = Words(
    markov=(
        "move above {it}",
        "lower to {it}",
        _CLOSE,
        "lift {it}",
        "move to the target",
        "lower to the target",
        _OPEN,
        _UP,
        _AWAY,
    ),
    plan={
        "pick": "move above {it}",
        "pick_start": "lower to {it}",
        "pick_end": _CLOSE,
        "postpick": "lift {it}",
        "clearance": "move to the target",
        "place": "move to the target",
        "place_start": "lower to the target",
        "place_end": _OPEN,
        "postplace": _UP,
        "final": _AWAY,
    },
)
_BUTTON = Words(
    markov=("move above {it}", "press {it}", _UP, _AWAY),
    plan={
        "press_start": "move above {it}",
        "press": "press {it}",
        "press_end": _UP,
        "final": _AWAY,
    },
)
_HANDLE = Words(
    markov=("move above {it}", "lower to {it}", "move {it}", _UP, _AWAY),
    plan={
        "approach": "move above {it}",
        "grasp_start": "lower to {it}",
        "grasp_end": _CLOSE,
        "move": "move {it}",
        "release": _OPEN,
        "clearance": _UP,
        "final": _AWAY,
    },
)
_WORDS = {"cube": _CUBE, "button": _BUTTON, "drawer": _HANDLE, "window": _HANDLE}


def phases_of(things: Sequence[Thing]) -> tuple[str, ...]:
    """Everything that an oracle may be said to do with these things."""
    said = [
        words.format(it=thing.name)
        for thing in things
        for words in (*_WORDS[thing.kind].markov, *_WORDS[thing.kind].plan.values())
    ]
    return tuple(dict.fromkeys(said))


class OracleExpert:
    """Plays an oracle for what the episode of an environment is about.

    The label is what the oracle would do; executed is the same, with the tool disturbed. The plan's
    own noise is off: it would be in the labels.
    """

    def __init__(
        self, env: "OGBenchEnv", kind: Kind, noise: float, random: np.random.Generator
    ) -> None:
        """Plan for a freshly reset environment.

        Args:
            env: the environment; only observed, never stepped.
            kind: which oracle.
            noise: standard deviation of the disturbance [m].
            random: source of the plan and of the disturbance.

        Raises:
            SimulationError: the noise is out of range.
        """
        self._disturbance = Disturbance(noise, env.control_dt, random)
        self._env, self._thing = env, env.target()
        self._words = _WORDS[self._thing.kind]
        module = import_module(f"ogbench.manipspace.oracles.{kind}.{self._thing.kind}_{kind}")
        make = getattr(module, f"{self._thing.kind.title()}{kind.title()}Oracle")
        # Of a puzzle's buttons there is one beside another, so the fingers stay together.
        together = {"gripper_always_closed": True} if _has_only_buttons(env) else {}
        self._oracle: Any = make(
            env=env.suite, **({"noise": 0.0} if kind == "plan" else {}), **together
        )
        self._said = self._words.markov[0]
        self._ways: list[tuple[float, str]] = []
        if kind == "plan":
            self._listen_to_plan()
        else:
            self._oracle.print_phase = self._hear_phase
        # Oracles draw from numpy's global generator when they begin, and only then.
        with OwnRandomness(int(random.integers(2**32))):
            self._oracle.reset(None, env.suite_info)

    def _listen_to_plan(self) -> None:
        """Keep what is done until when, as the oracle plans it."""
        plan = self._oracle.compute_keyframes

        def heard(*args: Any) -> tuple[dict[str, float], Any, Any]:
            times, poses, grasps = plan(*args)
            self._ways = [
                (time, self._words.plan[key]) for key, time in times.items() if key != "initial"
            ]
            return times, poses, grasps

        self._oracle.compute_keyframes = heard

    def _hear_phase(self, phase: str) -> None:
        # As the oracle would print it, "3: Grasp".
        self._said = self._words.markov[int(phase.split(":")[0]) - 1]

    @property
    def done(self) -> bool:
        """Whether the oracle has come to its end."""
        return bool(self._oracle.done)

    def act(self) -> ExpertAction:
        """What to do in this control step."""
        info = self._env.suite_info
        wanted = np.clip(self._oracle.select_action(None, info), -1, 1)
        if self._ways:
            now = float(info["time"][0]) - self._oracle._t_init
            ahead = (words for time, words in self._ways if now < time)
            self._said = next(ahead, self._ways[-1][1])
        executed: NDArray[np.float64] = wanted.copy()
        executed[:3] = np.clip(wanted[:3] + self._disturbance.advance() / METRES, -1, 1)
        return ExpertAction(
            label=wanted.astype(np.float32),
            executed=executed.astype(np.float32),
            phase=self._said.format(it=self._thing.name),
            intervention=False,
        )


def _has_only_buttons(env: "OGBenchEnv") -> bool:
    return all(thing.kind == "button" for thing in env.things)
