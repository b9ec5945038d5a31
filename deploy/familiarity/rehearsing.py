"""Episodes as deployed, with the scores of every chunk."""

from dataclasses import dataclass

from bridle.deploy.bundle import Bundle
from bridle.deploy.familiarity.calibration import Scores
from bridle.deploy.familiarity.scores import Planned, Scorer, available
from bridle.deploy.familiarity.support import Support
from bridle.deploy.rehearsal import Episode, Rehearsal, RehearsalConfig, SimulatedRobot
from bridle.deploy.runtime import Runtime


@dataclass(frozen=True)
class ScoredEpisode:
    """What happened, and how familiar it was."""

    episode: Episode
    scores: tuple[Scores, ...]
    """Of each chunk."""
    times: tuple[float, ...]
    """Of their observations, from the beginning [s]."""


class ScoredRehearsal:
    """Runs a bundle as its robot would, and listens."""

    def __init__(
        self,
        bundle: Bundle,
        config: RehearsalConfig,
        support: Support,
        names: tuple[str, ...] | None = None,
    ) -> None:
        """Load the policy.

        Args:
            bundle: verified; it need not be calibrated.
            config: how it is deployed.
            support: its training conditions.
            names: scores to compute; None takes those that suit the policy.

        Raises:
            InferenceError: the policy cannot be executed so, or a score not be computed.
        """
        runtime = Runtime(bundle)
        self._scorer = Scorer(runtime, support, available(runtime) if names is None else names)
        self.names = self._scorer.names
        self._rehearsal = Rehearsal(bundle, config, listener=self._listen)
        self._heard: list[Planned] = []
        self._scores: list[Scores] = []

    def _listen(self, planned: Planned) -> None:
        before = self._heard[-1] if self._heard else None
        self._scores.append(self._scorer(planned, before))
        self._heard.append(planned)

    def run(self, env: SimulatedRobot, seed: int, instruction: str | None = None) -> ScoredEpisode:
        """One episode, see `Rehearsal.run`."""
        self._heard, self._scores = [], []
        episode = self._rehearsal.run(env, seed, instruction)
        return ScoredEpisode(episode, tuple(self._scores), tuple(each.time for each in self._heard))
