"""Trials on a running graph with the simulated robot: what a person would do, measured.

Used by the demonstration and by the integration tests; everything goes through topics and services.
"""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np
from lifecycle_msgs.msg import Transition

from bridle.ros_nodes.operator import Operator, OperatorError
from bridle.ros_nodes.up import Graph

AT_REST = 0.01
"""Joint speed below which the robot counts as at rest [rad/s]."""
MOVING = 0.1
"""Joint speed above which it counts as in motion [rad/s]."""
EPISODE_SECONDS = 15.0


@dataclass(frozen=True)
class EpisodeOutcome:
    """How one episode on the graph went."""

    seed: int
    success: bool
    seconds: float


class Trials:
    """Runs episodes and provocations on a graph, and adds up the limit violations."""

    def __init__(self, graph: Graph, operator: Operator) -> None:
        """Take a started graph and an operator that watches the joints."""
        self.graph, self.operator = graph, operator
        self.violations = {"position": 0, "velocity": 0, "acceleration": 0}
        self.largest_share = {"velocity": 0.0, "acceleration": 0.0}
        self.physics_steps = 0
        self._counted = -1

    def wait_until_up(self, seconds: float = 60.0) -> None:
        """Wait for every node.

        Raises:
            OperatorError: one of them does not come up.
        """

        def up() -> bool:
            problem = self.graph.check()
            if problem is not None:
                raise OperatorError(problem)
            operator = self.operator
            return bool(operator.guard and operator.episode) and operator.position is not None

        self.operator.wait_for("the graph coming up", up, seconds)

    def start_episode(self, seed: int) -> None:
        """A fresh layout: policy paused, scene and guard reset, policy on."""
        operator = self.operator
        operator.transition("policy_node", Transition.TRANSITION_DEACTIVATE, seconds=20)
        operator.spin(0.6)  # the guard's state is published twice a second: see the present one
        operator.wait_for(
            "the guard coming to rest", lambda: operator.guard["mode"] != "NOMINAL", 5
        )
        operator.wait_for("the robot coming to rest", lambda: self._speed() < MOVING, 5)
        operator.set_integer("sim_robot_node", "seed", seed)
        self.count_violations()
        before = operator.episode["episode"]
        operator.trigger("reset_episode")
        operator.wait_for("the new episode", lambda: operator.episode["episode"] > before, 5)
        # The guard adopts the measured position: let it see the new one first.
        operator.spin(0.15)
        self._reset_guard()
        if not operator.transition("policy_node", Transition.TRANSITION_ACTIVATE, seconds=20):
            raise OperatorError("policy_node could not be activated")

    def _reset_guard(self) -> None:
        """A chunk that was under way may keep the guard busy for a moment."""
        end = time.monotonic() + 3.0
        while True:
            try:
                self.operator.trigger("reset")
            except OperatorError:
                if time.monotonic() > end:
                    raise
                self.operator.spin(0.1)
            else:
                return

    def count_violations(self) -> None:
        """Add the running episode's counters to the sum, once."""
        self.operator.spin(0.15)
        state = self.operator.episode
        if state["episode"] == self._counted:
            return
        self._counted = state["episode"]
        for name, count in state["violations"].items():
            self.violations[name] += count
        for name, share in state["largest_share"].items():
            self.largest_share[name] = max(self.largest_share[name], share)
        self.physics_steps += state["physics_steps"]

    def run_episode(self, seed: int) -> EpisodeOutcome:
        """One episode to success or time-out."""
        self.start_episode(seed)
        began = time.monotonic()
        self.operator.until(lambda: bool(self.operator.episode["success"]), EPISODE_SECONDS)
        success = bool(self.operator.episode["success"])
        return EpisodeOutcome(seed, success, time.monotonic() - began)

    def _speed(self) -> float:
        velocity = self.operator.velocity
        return np.inf if velocity is None else float(np.abs(velocity).max())

    def wait_for_motion(self, seconds: float = 5.0) -> None:
        """Wait until the arm moves."""
        self.operator.wait_for("motion", lambda: self._speed() > MOVING, seconds)

    def rest_ms(self, since: float, seconds: float = 5.0) -> float:
        """Milliseconds from `since` until the joints rest and stay at rest."""
        rested_at: float | None = None

        def resting() -> bool:
            nonlocal rested_at
            if self._speed() >= AT_REST or self.operator.state_time < since:
                rested_at = None
            elif rested_at is None:
                rested_at = self.operator.state_time
            return rested_at is not None and self.operator.state_time - rested_at > 0.2

        self.operator.wait_for("rest", resting, seconds)
        assert rested_at is not None
        return 1e3 * (rested_at - since)

    def stop_ms(self, seed: int) -> float:
        """Milliseconds from saying "stop" in motion to rest."""
        self.start_episode(seed)
        self.wait_for_motion()
        self.operator.spin(0.4)
        self.wait_for_motion()
        said_at = time.monotonic()
        self.operator.publish_correction("stop")
        return self.rest_ms(said_at)

    def policy_killed_rest_ms(self, seed: int) -> float:
        """Milliseconds from killing policy_node in motion to rest."""
        self.start_episode(seed)
        self.wait_for_motion()
        self.operator.spin(0.4)
        self.wait_for_motion()
        killed_at = time.monotonic()
        os.kill(self.graph.pid("policy_node"), signal.SIGKILL)
        return self.rest_ms(killed_at)

    def nudge_cm(self, seed: int, text: str, axis: int) -> float:
        """How much further the tool is along an axis after `text` than without it [cm].

        The same layout is played to its end twice; at rest after success nothing else moves the
        tool, so the difference is the correction's.
        """
        positions = []
        for said in (None, text):
            outcome = self.run_episode(seed)
            if not outcome.success:
                raise OperatorError(f"the episode of seed {seed} must succeed to measure a nudge")
            self.operator.spin(1.0)
            if said is not None:
                self.operator.publish_correction(said)
            self.operator.spin(1.0)
            window = []
            for _ in range(10):
                self.operator.spin(0.1)
                window.append(self.operator.episode["tool"])
            positions.append(np.median(np.array(window), axis=0))
        return float(100 * (positions[1] - positions[0])[axis])
