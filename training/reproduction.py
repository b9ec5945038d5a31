"""Results as data: what is collected, trained and evaluated, and one small file per trained policy.

`results.yaml` names the sets, the policies and the tables that cross them. Every cell is made by
the public commands, in processes of their own with one thread each, side by side; what is finished
is skipped, and what was cut off goes on where it was.
"""

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import dacite
import yaml

from bridle.training.command import flags, run_command
from bridle.training.exceptions import TrainingError
from bridle.training.runs import library_versions

SPECIFICATION = Path(__file__).with_name("results.yaml")


@dataclass(frozen=True)
class Recipe:
    """How a policy is trained, and the rows of the table that it fills."""

    train: Mapping[str, Any]
    """Options of `bridle train`."""
    rows: Mapping[str, Mapping[str, Any]]
    """Row's name -> options of `bridle evaluate`."""


@dataclass(frozen=True)
class TableSpec:
    """Policies x sets."""

    title: str
    """What stands above it."""
    sets: tuple[str, ...]
    """Columns."""
    policies: tuple[str, ...]
    """Groups of rows."""
    seeds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Set -> training seeds, where it is not 0 alone."""
    train: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Set -> options of `bridle train` that it needs."""


@dataclass(frozen=True)
class Specification:
    """All tables."""

    episodes: int
    """Evaluation episodes of each row."""
    sets: Mapping[str, Mapping[str, Any]]
    """Name -> options of `bridle collect`."""
    policies: Mapping[str, Recipe]
    """Name -> how it is trained."""
    tables: Mapping[str, TableSpec]
    """Name -> table."""

    def __post_init__(self) -> None:
        for name, table in self.tables.items():
            for kind, used, known in (
                ("set", (*table.sets, *table.seeds, *table.train), self.sets),
                ("policy", table.policies, self.policies),
            ):
                for one in used:
                    if one not in known:
                        raise TrainingError(f"table {name}: there is no {kind} {one!r}")


def read_specification(path: Path = SPECIFICATION) -> Specification:
    """Read and check the tables.

    Raises:
        TrainingError: the file is missing or says something else.
    """
    try:
        content = yaml.safe_load(path.read_text())
        config = dacite.Config(strict=True, cast=[tuple])
        return dacite.from_dict(Specification, content, config)
    except (OSError, yaml.YAMLError, dacite.DaciteError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: {error}") from error


@dataclass(frozen=True)
class Cell:
    """One trained policy of a table, and everything that decides what comes out."""

    table: str
    set: str
    policy: str
    seed: int
    episodes: int
    collect: Mapping[str, Any]
    train: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        """What it is called, in files and at the terminal."""
        return f"{self.table}/{self.set}-{self.policy}-{self.seed}"

    @property
    def digest(self) -> str:
        """Another one makes another result."""
        parts = (self.collect, self.train, self.rows, self.seed, self.episodes)
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def commands(self, work: Path) -> dict[str, list[str]]:
        """Step -> arguments of `bridle`; `evaluate <row>` for each row."""
        data, run = work / f"{self.set}.zarr", work / "runs" / self.name
        commands = {
            "collect": ["collect", *flags(self.collect), "--out", str(data)],
            "train": [
                "train", *flags(self.train), "--seed", str(self.seed),
                "--data", str(data), "--out", str(run),
            ],
        }  # fmt: skip
        for row, options in self.rows.items():
            commands[f"evaluate {row}"] = [
                "evaluate", "--run", str(run), "--episodes", str(self.episodes), *flags(options),
            ]  # fmt: skip
        return commands


def cells_of(specification: Specification, only: Sequence[str] = ()) -> list[Cell]:
    """Every cell, table by table.

    Args:
        specification: the tables.
        only: patterns of names, as `generators/push-*`; nothing takes all.

    Raises:
        TrainingError: a pattern matches nothing.
    """
    cells = [
        Cell(
            table=name,
            set=column,
            policy=policy,
            seed=seed,
            episodes=specification.episodes,
            collect=specification.sets[column],
            train=dict(specification.policies[policy].train) | dict(table.train.get(column, {})),
            rows=specification.policies[policy].rows,
        )
        for name, table in specification.tables.items()
        for column in table.sets
        for policy in table.policies
        for seed in table.seeds.get(column, (0,))
    ]
    for pattern in only:
        if not any(fnmatch(cell.name, pattern) for cell in cells):
            raise TrainingError(f"no cell is called {pattern!r}; --list names them")
    return [c for c in cells if not only or any(fnmatch(c.name, pattern) for pattern in only)]


def read_result(cell: Cell, results: Path) -> dict[str, Any] | None:
    """What a cell gave, or None if it was not made yet, or with other settings.

    Raises:
        TrainingError: its file is damaged.
    """
    path = results / f"{cell.name}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        return content if content["digest"] == cell.digest else None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is no result ({error}); remove it to make it anew") from error


def make_cell(cell: Cell, work: Path, results: Path) -> dict[str, Any]:
    """Train and evaluate one cell whose set is there, and write its result.

    Raises:
        TrainingError: a command failed.
    """
    began = time.monotonic()
    commands = cell.commands(work)
    folder = work / "runs" / cell.name
    log = folder.with_suffix(".log")
    answer = folder.with_suffix(".json")
    train_seconds = run_command([*commands["train"], "--json", str(answer)], log)
    trained = json.loads(answer.read_text())
    fresh = (trained["steps"] - trained["resumed_at"]) / trained["steps"]
    rows = {}
    for row in cell.rows:
        run_command([*commands[f"evaluate {row}"], "--threads", "1", "--json", str(answer)], log)
        evaluation = json.loads(answer.read_text())
        episodes = evaluation.pop("per_episode")
        evaluation["failed_seeds"] = [e["seed"] for e in episodes if not e["success"]]
        rows[row] = evaluation
    answer.unlink()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    result = {
        "digest": cell.digest,
        "set": cell.set,
        "policy": cell.policy,
        "seed": cell.seed,
        "commands": {
            step: shlex.join(["bridle", *command])
            for step, command in cell.commands(Path("results")).items()
        },
        "rows": rows,
        "parameters": trained["parameters"],
        "steps": trained["steps"],
        "val_loss": trained["val_loss"],
        # A training that was cut off is charged in proportion to the steps of its last part.
        "train_cpu_seconds": train_seconds / fresh if fresh else None,
        "wall_seconds": time.monotonic() - began,
        "data_digest": config["data"]["digest"],
        "versions": library_versions(),
    }
    path = results / f"{cell.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)
    return result


def make_results(
    cells: Sequence[Cell],
    work: Path,
    results: Path,
    *,
    jobs: int,
    report: Callable[[Cell, dict[str, Any]], None],
) -> Iterator[str]:
    """Make every cell that is not there yet.

    Args:
        cells: what is wanted.
        work: folder of sets and runs, which are kept and used again.
        results: folder of the results.
        jobs: cells at once.
        report: called as each cell is finished.

    Yields:
        What went wrong, a line for each cell that failed; the others are made all the same.
    """
    if jobs < 1:
        raise TrainingError(f"jobs must be at least 1, got {jobs}")
    missing = [cell for cell in cells if read_result(cell, results) is None]
    collected: set[str] = set()
    for cell in missing:
        if cell.set not in collected:
            command = [*cell.commands(work)["collect"], "--workers", str(jobs)]
            run_command(command, work / f"{cell.set}.log")
            collected.add(cell.set)
    with ThreadPoolExecutor(jobs) as pool:
        pending = {pool.submit(make_cell, cell, work, results): cell for cell in missing}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                cell = pending.pop(future)
                error = future.exception()
                if error is None:
                    report(cell, future.result())
                elif isinstance(error, TrainingError):
                    yield f"{cell.name}: {error}"
                else:
                    raise error
