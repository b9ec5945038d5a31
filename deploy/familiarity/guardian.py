"""The guardian: says of every chunk whether its policy is on familiar ground.

It belongs beside the policy, where observation and graphs are. What it says goes to the guard.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from bridle.deploy.bundle import GUARD, SUPPORT, Bundle
from bridle.deploy.exceptions import BundleError
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.familiarity.alarm import AlarmConfig, AlarmState, Assessment, assess
from bridle.deploy.familiarity.calibration import Calibration
from bridle.deploy.familiarity.scores import Planned, Scorer
from bridle.deploy.familiarity.support import Support
from bridle.deploy.runtime import Runtime


@dataclass(frozen=True)
class GuardianState:
    """What is remembered from chunk to chunk; a new one begins an episode."""

    before: Planned | None = None
    """The last chunk."""
    alarm: AlarmState = field(default_factory=AlarmState)

    def interrupted(self) -> "GuardianState":
        """The robot was held or moved by hand: the last chunk says nothing of where the next goes.

        Without it, a policy that plans anew from where it was stopped would be at odds with itself
        for as long as it is stopped.
        """
        return replace(self, before=None)


class Guardian:
    """Scores and thresholds of a calibrated bundle."""

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        execution: ExecutionConfig,
        config: AlarmConfig | None = None,
    ) -> None:
        """Take the calibration from a bundle.

        Args:
            bundle: verified.
            runtime: what runs it.
            execution: how chunks follow each other.
            config: what a level does.

        Raises:
            BundleError: the bundle is not calibrated, or for another strategy or mask.
            InferenceError: its scores cannot be computed.
        """
        if GUARD not in bundle.contents:
            raise BundleError(f"{bundle.path} is not calibrated; run bridle calibrate")
        self.calibration = Calibration.from_bytes(bundle.contents[GUARD])
        mask = execution.mask_for(bundle.manifest.sees)
        for name, chosen, calibrated in (
            ("strategy", execution.strategy, self.calibration.strategy),
            ("mask", mask, self.calibration.mask),
        ):
            # Only one strategy has a mask.
            if chosen != calibrated and (name == "strategy" or execution.strategy == "rtc"):
                raise BundleError(
                    f"{bundle.path} is calibrated for {name} {calibrated}, not {chosen}; serve it "
                    f"with that {name}, or run bridle calibrate again"
                )
        self.config = AlarmConfig() if config is None else config
        support = Support.from_bytes(bundle.contents[SUPPORT])
        self._scorer = Scorer(runtime, support, self.calibration.names)
        self._manifest = bundle.manifest

    def warm_up(self) -> None:
        """Run every graph once, so that the first assessment is as fast as the others."""
        manifest = self._manifest
        nothing = {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in manifest.inputs}
        rows, n = manifest.horizon - manifest.first_action, len(manifest.joint_names)
        self._scorer(Planned(nothing, np.zeros((rows, n)), 0.0, 0.0, manifest.dt), None)

    def overdue(self, steps: int) -> str:
        """A sentence if chunks are later than in the calibration; empty if they are not.

        Args:
            steps: control steps that were executed before a chunk took over, as measured.
        """
        # The step that is under way when a chunk arrives is executed in any case.
        if steps <= self.calibration.delay + 1:
            return ""
        return (
            f"an inference takes {steps - 1} control steps, the bundle is calibrated for "
            f"{self.calibration.delay}: alarms may be false; run bridle calibrate --delay "
            f"{steps - 1}"
        )

    def assess(self, state: GuardianState, planned: Planned) -> tuple[GuardianState, Assessment]:
        """Assess a chunk.

        Args:
            state: after the chunk before.
            planned: the chunk.

        Raises:
            InferenceError: its observation does not fit the policy.
        """
        scores = self._scorer(planned, state.before)
        alarm, assessment = assess(self.calibration, self.config, state.alarm, scores)
        return GuardianState(planned, alarm), assessment
