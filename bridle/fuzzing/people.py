"""People around the robot: where they go, and what is reported of them."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridle.deploy.guard.limits import Obstacle
from bridle.deploy.robot import Separation
from bridle.fuzzing.geometry import Geometry

Vector = NDArray[np.float64]

USUAL = Separation(uncertainty=0.05, max_age=0.2, settling=0.15)
"""For a robot whose file does not say how far people are kept from it."""
Habit = Literal["stands", "passes", "comes", "wanders", "darts"]
"""`passes`: straight past the robot or into it; `comes`: after the part that is nearest, and stays
there; `darts`: at full speed, in another direction every few tenths of a second."""
HABITS: tuple[Habit, ...] = get_args(Habit)
MOST = 3


@dataclass(eq=False)
class Person:
    """A ball that moves."""

    habit: Habit
    centre: Vector
    """(3,) [m]."""
    velocity: Vector
    """(3,) [m/s]."""
    radius: float
    """[m]."""
    speed: float
    """No more than this [m/s]; it is told with every report."""
    bias: Vector
    """Where it is seen beside where it is (3,) [m]."""


class People:
    """One to three, who move in every control period and are reported now and then."""

    def __init__(
        self,
        geometry: Geometry,
        separation: Separation,
        start: Vector,
        random: np.random.Generator,
        *,
        anybody: bool = True,
    ) -> None:
        """Around the robot at its start (n,) [rad]; or nobody, which is reported without fail."""
        self._geometry, self._random = geometry, random
        self._uncertainty = separation.uncertainty
        self._every, self._lost = random.uniform(0.02, 0.1), random.uniform(0, 0.5)
        self._ends = random.uniform(0.1, 1.0) if random.random() < 0.2 else np.inf
        self._due = 0.0
        geometry.place(start)
        parts = geometry.data.geom_xpos[geometry.moving].copy()
        self.everyone = [self._someone(parts) for _ in range(int(random.integers(1, MOST + 1)))]
        if not anybody:
            self.everyone, self._lost, self._ends = [], 0.0, np.inf

    def _someone(self, parts: Vector) -> Person:
        """Not far from one of the parts of the robot (G, 3) [m]."""
        random = self._random
        habit = HABITS[random.integers(len(HABITS))]
        speed = float(random.choice([0.25, 0.5, 1.0, 1.6, 2.0]))
        goal = parts[random.integers(len(parts))]
        away = random.normal(size=3)
        centre = goal + random.uniform(0.3, 1.2) * away / np.linalg.norm(away)
        way = goal - centre
        velocity = random.uniform(0.3, 1.0) * speed * way / np.linalg.norm(way)
        bias = random.normal(size=3)
        bias *= 0.8 * self._uncertainty * random.random() / np.linalg.norm(bias)
        radius = random.uniform(0.03, 0.25)
        return Person(habit, centre, velocity, radius, speed, bias)

    def move(self, q: Vector, dt: float) -> Vector:
        """For a control period [s], the robot being at q (n,) [rad].

        Returns:
            Where all were before and are after it (2, people, 3) [m].
        """
        before = np.array([person.centre for person in self.everyone])
        for person in self.everyone:
            person.velocity = self._velocity(person, q)
            person.centre = person.centre + dt * person.velocity
        return np.array([before, [person.centre for person in self.everyone]])

    def _velocity(self, person: Person, q: Vector) -> Vector:
        random, habit = self._random, person.habit
        if habit == "stands":
            return np.zeros(3)
        if habit == "comes":
            way = self._geometry.nearest_part(q, person.centre) - person.centre
            distance = float(np.linalg.norm(way))
            return person.speed * way / distance if distance > 0.01 else np.zeros(3)
        changes = {"passes": 0.0, "wanders": 0.01, "darts": 0.02}[habit]
        if random.random() >= changes:
            return person.velocity
        direction = random.normal(size=3)
        share = 1.0 if habit == "darts" else random.random()
        turned: Vector = share * person.speed * direction / np.linalg.norm(direction)
        return turned

    def report(self, t: float) -> list[Obstacle] | None:
        """What is said of them at a time [s]; None where nothing comes."""
        if t < self._due or t >= self._ends:
            return None
        self._due = t + self._every
        if self._random.random() < self._lost:
            return None
        return [self._seen(person) for person in self.everyone]

    def _seen(self, person: Person) -> Obstacle:
        noise = self._random.uniform(-1, 1, 3) * 0.1 * self._uncertainty
        x, y, z = (person.centre + person.bias + noise).tolist()
        return Obstacle((x, y, z), person.radius, person.speed)
