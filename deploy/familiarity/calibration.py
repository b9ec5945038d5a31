"""When a policy counts as lost: what its scores were in episodes that went well. `guard.json`."""

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from bridle.deploy import strict_json
from bridle.deploy.exceptions import BundleError
from bridle.deploy.familiarity.conformal import conformal_quantile, least_episodes

FORMAT_VERSION = 2
STRATEGIES = ("replace", "blend", "ensemble", "rtc")
MASKS = ("soft", "hard")
UNITS = {
    "support": "standard deviations of the training conditions",
    "continuity": "standard deviations of the actions",
    "residual": "standard deviations of the actions",
    "score": "the generator's own",
}
"""Score -> its unit."""
AGREE = 2
"""Scores that must be high together."""
TYPICAL, HIGH = 0.5, 0.9
"""Quantiles of a score's highest value in an episode, at which its height is 0 and 1."""
FITTED = 0.3
"""Share of the episodes that heights are fitted on. Thresholds are from the others, so that these
are exchangeable with the episodes to come."""
_LEAST_FITTED = 5
_MOST = 1e9
"""No number of a calibration is larger."""

Scores = Mapping[str, float]
"""Score -> its value for one chunk; NaN for one that says nothing of it."""


@dataclass(frozen=True)
class Scale:
    """How a score's value becomes a height, (value - typical) / spread: heights compare."""

    name: str
    """One of `UNITS`."""
    unit: str
    typical: float
    """Highest value in a typical episode that went well."""
    spread: float
    """How much higher it is in one episode of ten."""

    def __post_init__(self) -> None:
        if UNITS.get(self.name) != self.unit:
            raise BundleError(f"there is no score {self.name[:20]!r} in {self.unit[:40]!r}")
        _check_number("typical", self.typical)
        _check_number("spread", self.spread)
        if self.spread <= 0:
            raise BundleError(f"spread of {self.name} must be positive, got {self.spread}")

    def height(self, value: float) -> float:
        """Of a value; one that is not finite says nothing if it is NaN, and is highest if not."""
        if math.isnan(value):
            return -math.inf
        return (value - self.typical) / self.spread


@dataclass(frozen=True)
class Calibration:
    """What `guard.json` says.

    Raises:
        BundleError: a value is not allowed.
    """

    format_version: int
    weights_digest: str
    """SHA-256 of the weights that the scores are of."""
    strategy: str
    """How chunks followed each other; it decides how well they continue."""
    mask: str
    """What `rtc` guided them by, `soft` or `hard`; it says nothing of other strategies."""
    delay: int
    """Control steps that an inference took."""
    alpha: float
    """Probability with which an episode that goes well passes `together`, at most; and `alone`."""
    n_fitted: int
    """Episodes that the scales are fitted on."""
    n_calibrated: int
    """Episodes that the thresholds are from."""
    window: int
    """Chunks within which scores agree."""
    scores: list[Scale]
    alone: float
    """Height above which a score is unusual by itself."""
    together: float
    """Height above which two scores are unusual if both are, within the window."""

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        if self.strategy not in STRATEGIES:
            raise BundleError(f"strategy must be one of {', '.join(STRATEGIES)}")
        if self.mask not in MASKS:
            raise BundleError(f"mask must be one of {', '.join(MASKS)}")
        for name, low, high in (
            ("delay", 0, 1024),
            ("n_fitted", 1, 10**6),
            ("n_calibrated", 1, 10**6),
            ("window", 1, 64),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BundleError(f"{name} must be an integer in {low}..{high}, got {value!r}")
        for name in ("alpha", "alone", "together"):
            _check_number(name, getattr(self, name))
        if not 0 < self.alpha < 1:
            raise BundleError(f"alpha must lie between 0 and 1, got {self.alpha}")
        if self.n_calibrated < least_episodes(self.alpha):
            raise BundleError(
                f"alpha {self.alpha:g} needs at least {least_episodes(self.alpha)} episodes, "
                f"n_calibrated is {self.n_calibrated}"
            )
        names = [scale.name for scale in self.scores]
        if len(names) < AGREE or len(set(names)) != len(names):
            raise BundleError(f"scores must be at least {AGREE}, all different, got {names[:9]}")
        if self.together > self.alone:
            raise BundleError(f"together {self.together} must not be above alone {self.alone}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the scores."""
        return tuple(scale.name for scale in self.scores)

    def heights(self, scores: Scores) -> dict[str, float]:
        """Height of every score; -inf for one that says nothing."""
        return {s.name: s.height(scores.get(s.name, math.nan)) for s in self.scores}

    def threshold(self, name: str, *, together: bool) -> float:
        """The value of a score at a threshold, in the score's unit."""
        (scale,) = (s for s in self.scores if s.name == name)
        return scale.typical + scale.spread * (self.together if together else self.alone)

    def to_bytes(self) -> bytes:
        """As `guard.json`."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Calibration":
        """Read `guard.json`.

        Raises:
            BundleError: it does not fit the schema.
        """
        try:
            content = strict_json.parse(data)
        except ValueError as error:
            raise BundleError(f"it cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise BundleError("it is no calibration")
        # Before what another version has more of, or less.
        _check_version(content.get("format_version", FORMAT_VERSION))
        try:
            return strict_json.build(cls, content)
        except ValueError as error:
            raise BundleError(str(error)[:300]) from error


def peaks(recent: Sequence[Mapping[str, float]]) -> list[tuple[str, float]]:
    """Each score with its largest height among some chunks, the highest first."""
    names = recent[0] if recent else ()
    found = [(name, max(heights[name] for heights in recent)) for name in names]
    return sorted(found, key=lambda each: -each[1])


def calibrate(
    episodes: Sequence[Sequence[Scores]],
    *,
    weights_digest: str,
    strategy: str,
    mask: str,
    delay: int,
    alpha: float = 0.05,
    window: int = 3,
) -> Calibration:
    """Thresholds from episodes that went well.

    The first `FITTED` of the episodes say what a score's height is. With the others,

        alone = conformal quantile of  max over t of the highest height at t
        together = conformal quantile of  max over t of the second highest peak within the window

    so an episode that is exchangeable with these raises each alarm with a probability of at most
    alpha (`conformal_quantile`). That two must agree is FIPER's rule (arXiv 2510.09459).
    FAIL-Detect (arXiv 2503.08558) calibrates a band over time; the largest value of an episode
    needs no clock that runs alike in all of them.

    Args:
        episodes: scores of each chunk, episode by episode, in the order in which they were run.
        weights_digest: of the policy.
        strategy: how chunks followed each other.
        mask: what `rtc` guided them by.
        delay: control steps that an inference took.
        alpha: false alarms per episode that went well, at most.
        window: chunks within which scores agree.

    Raises:
        ValueError: there are too few episodes for alpha, a score is not finite or never changes, or
            a setting is out of range.
    """
    n_fitted = max(_LEAST_FITTED, round(FITTED * len(episodes)))
    n_calibrated = len(episodes) - n_fitted
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    if n_calibrated < least_episodes(alpha):
        needed = next(
            n
            for n in range(len(episodes), 10 * (_LEAST_FITTED + least_episodes(alpha)))
            if n - max(_LEAST_FITTED, round(FITTED * n)) >= least_episodes(alpha)
        )
        raise ValueError(
            f"alpha {alpha:g} needs {needed} episodes that went well, got {len(episodes)}"
        )
    drafted = Calibration(
        FORMAT_VERSION,
        weights_digest,
        strategy,
        mask,
        delay,
        alpha,
        n_fitted,
        n_calibrated,
        window,
        _scales(episodes[:n_fitted]),
        alone=0.0,
        together=0.0,
    )
    highest = np.array([_highest(drafted, episode) for episode in episodes[n_fitted:]])
    alone, together = (conformal_quantile(column, alpha) for column in highest.T)
    return replace(drafted, alone=alone, together=together)


def _scales(episodes: Sequence[Sequence[Scores]]) -> list[Scale]:
    scales = []
    for name in episodes[0][0]:
        values = [[chunk[name] for chunk in episode] for episode in episodes]
        if np.isinf(np.concatenate(values)).any() or not any(map(len, values)):
            raise ValueError(f"the score {name} is not finite in an episode that went well")
        # A score may say nothing of a chunk, but says something of every episode.
        if any(np.isnan(episode).all() for episode in values):
            raise ValueError(f"the score {name} says nothing of an episode: it has one chunk only")
        highest = np.array([np.nanmax(episode) for episode in values])
        typical, high = np.quantile(highest, (TYPICAL, HIGH))
        if not high > typical:
            raise ValueError(f"the score {name} is the same in all episodes: leave it out")
        scales.append(Scale(name, UNITS[name], float(typical), float(high - typical)))
    return scales


def _highest(calibration: Calibration, episode: Sequence[Scores]) -> tuple[float, float]:
    """Over an episode: the highest height, and the second highest peak within a window."""
    recent: deque[dict[str, float]] = deque(maxlen=calibration.window)
    alone, together = [], []
    for scores in episode:
        recent.append(calibration.heights(scores))
        (_, first), (_, second), *_ = peaks(recent)
        alone.append(first)
        together.append(second)
    return max(alone), max(together)


def _check_version(version: object) -> None:
    if version != FORMAT_VERSION:
        raise BundleError(
            f"format version {version!r:.20}, this Bridle reads {FORMAT_VERSION}; calibrate again"
        )


def _check_number(name: str, value: float) -> None:
    if type(value) is not float or not abs(value) <= _MOST:
        raise BundleError(f"{name} must be a number of at most {_MOST:.0e}, got {value!r}")
