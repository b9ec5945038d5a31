"""Many cases in several processes; what is done is written down, and not done again."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any, TextIO

import bridle.deploy
import bridle.fuzzing
from bridle.deploy.robot import RobotDescription
from bridle.fuzzing.judging import judge
from bridle.fuzzing.running import World, run
from bridle.fuzzing.setting import Scenario
from bridle.fuzzing.tally import Tally, failed_row, row

BATCH = 10
"""Cases that a process is given at a time."""
_world: World | None = None


@dataclass(frozen=True)
class Campaign:
    """Which cases of which robot."""

    robot: RobotDescription
    seed: int
    cases: int
    workers: int
    """Processes; with one it all happens in this one."""
    first: int = 0
    """Number of the first case: large campaigns can be run in parts, by several machines."""
    scenario: Scenario = "limits"
    """What the cases are about."""

    def __post_init__(self) -> None:
        if self.cases < 1 or self.workers < 1:
            raise ValueError(
                f"cases and workers must be at least 1, got {self.cases}, {self.workers}"
            )
        if self.first < 0:
            raise ValueError(f"first must not be negative, got {self.first}")

    @property
    def digest(self) -> str:
        """Of what the outcome of a case depends on: the robot, the guard, this package, the seed.

        Cases that were done with another guard say nothing of this one.
        """
        found = hashlib.sha256(f"{self.seed} {self.scenario} {self.robot}".encode())
        for package in (bridle.deploy, bridle.fuzzing):
            for file in sorted(Path(next(iter(package.__path__))).rglob("*.py")):
                found.update(file.read_bytes())
        return found.hexdigest()

    def run(self, journal: Path) -> Iterator[Tally]:
        """The tally so far, after every few cases.

        Args:
            journal: file with a line for each case that is done; it is gone on with if it is of the
                same robot, guard and seed, and written anew otherwise.
        """
        tally, done = Tally(), set()
        asked_for = range(self.first, self.first + self.cases)
        rows = _read(journal, self.digest)
        for each in rows:
            if each["case"] in asked_for:
                done.add(each["case"])
                tally.add(each)
        todo = [case for case in asked_for if case not in done]
        if not rows:
            journal.write_text(json.dumps({"digest": self.digest}) + "\n")
        yield tally
        with journal.open("a") as file:
            for found in self._rows(todo):
                _write(file, found)
                for each in found:
                    tally.add(each)
                yield tally

    def _rows(self, todo: list[int]) -> Iterator[list[dict[str, Any]]]:
        batches = iter([todo[i : i + BATCH] for i in range(0, len(todo), BATCH)])
        if self.workers == 1:
            _begin(self.robot, self.scenario)
            for batch in batches:
                yield _batch(self.seed, batch)
            return
        # One thread each: more only get in the way of the other processes.
        os.environ["OMP_NUM_THREADS"] = "1"
        pending: deque[Future[list[dict[str, Any]]]] = deque()
        with ProcessPoolExecutor(
            self.workers,
            get_context("spawn"),
            initializer=_begin_worker,
            initargs=(self.robot, self.scenario),
        ) as pool:
            try:
                for batch in batches:
                    pending.append(pool.submit(_batch, self.seed, batch))
                    if len(pending) >= 3 * self.workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(robot: RobotDescription, scenario: Scenario) -> None:
    Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    _begin(robot, scenario)


def _leave_with(parent: int) -> None:
    """End this process when its parent was killed: nobody would ask it for more, or end it."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _begin(robot: RobotDescription, scenario: Scenario) -> None:
    global _world
    _world = World(robot, scenario=scenario)


def _batch(seed: int, cases: Iterable[int]) -> list[dict[str, Any]]:
    assert _world is not None
    return [_case(_world, seed, case) for case in cases]


def _case(world: World, seed: int, case: int) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        trace = run(world, seed, case)
        verdict = judge(world, trace)
    except Exception as error:
        return failed_row(case, f"{type(error).__name__}: {error}")
    return row(case, trace, verdict, time.perf_counter() - began)


def _write(file: TextIO, rows: list[dict[str, Any]]) -> None:
    file.write("".join(json.dumps(each) + "\n" for each in rows))
    file.flush()


def _read(journal: Path, digest: str) -> list[dict[str, Any]]:
    """The cases in a journal of the same digest; a line that a kill cut off is left out."""
    if not journal.is_file():
        return []
    found = []
    for line in journal.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if not found or found[0] != {"digest": digest}:
        return []
    if not found[1:]:
        return []
    journal.write_text("".join(json.dumps(each) + "\n" for each in found))
    return found[1:]
