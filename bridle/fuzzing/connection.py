"""The way of chunks and joint states to the guard: late, lost, twice, and by another clock."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from bridle.fuzzing.setting import Setting
from bridle.fuzzing.sources import Plan

EPOCH = 1.7e9
"""Where the sender's clock begins [s]."""


@dataclass(order=True, frozen=True)
class Message:
    """A chunk under way."""

    arrives: float
    """By the guard's clock [s]."""
    number: int
    stamp_ns: int = field(compare=False)
    plan: Plan = field(compare=False)


class Connection:
    """Carries chunks as badly as a case has it."""

    def __init__(self, setting: Setting, random: np.random.Generator) -> None:
        """Nothing is under way."""
        self._setting, self._random = setting, random
        self._under_way: list[Message] = []
        self._sent = 0

    def stamp(self, t: float) -> int:
        """What the sender's clock shows at a time [s] of the guard's [ns]."""
        step = self._setting.clock_step
        return round(1e9 * (EPOCH + t + (step[1] if step is not None and t >= step[0] else 0.0)))

    def send(self, plan: Plan, observed: float) -> None:
        """A chunk that was planned from what was seen then [s]."""
        random, faults = self._random, self._setting.faults
        if random.random() < faults:
            return
        stamp = self.stamp(observed)
        if random.random() < faults:
            stamp += int(1e9 * random.choice([-1, 1]) * 10 ** random.uniform(-2, 1))
        for _ in range(1 + (random.random() < faults)):
            late = random.uniform(0, 0.2 * self._setting.latency)
            if random.random() < faults:
                late += random.uniform(0, 0.4)
            arrives = observed + self._setting.latency + late
            heapq.heappush(self._under_way, Message(arrives, self._sent, stamp, plan))
            self._sent += 1

    def arrived(self, now: float) -> Iterator[Message]:
        """What has come by now [s], in the order of its arrival."""
        while self._under_way and self._under_way[0].arrives <= now:
            yield heapq.heappop(self._under_way)
