"""Several sets, one after the other, as one."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.rewriting import Pick, Rewritten, described, ours, rewrite
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import opened_sound

MIXED = "mixed"


def merge(
    paths: Sequence[Path | str],
    out: Path | str,
    task: str | None = None,
    progress: Progress = silent,
) -> Rewritten:
    """Join sets; each one's instructions are looked up in a table of all.

    Args:
        paths: two or more sets of one robot, control rate and the same keys (name, shape, dtype
            and unit).
        out: new set: a folder, a zip or a URL. One that was begun by the same merge is continued.
        task: name of the new set's task; None takes that of the inputs, "mixed" if they differ.
        progress: told how far it is.

    Returns:
        The new set. Per-episode columns that not all inputs have are left out, and noted.

    Raises:
        DemonstrationError: the sets do not fit, one is damaged, or another set is at `out`.
    """
    if len(paths) < 2:
        raise DemonstrationError(f"merge needs at least 2 sets, got {len(paths)}")
    with ExitStack() as stack:
        inputs = [stack.enter_context(opened_sound(path))[0] for path in paths]
        attributes = [ours(stored) for stored in inputs]
        for path, other in zip(paths[1:], attributes[1:], strict=True):
            check_fit(str(paths[0]), attributes[0], str(path), other)
        columns, notes = _common_columns(paths, attributes)
        table = list(dict.fromkeys(text for a in attributes for text in a.instructions))
        sources = [described(stored, progress) for stored in inputs]
        if len({its["digest"] for its in sources}) < len(sources):
            notes.append("two of the sets hold the same content; their episodes are there twice")
        tasks = {a.task for a in attributes}
        merged = replace(
            attributes[0],
            task=task or (MIXED if len(tasks) > 1 else attributes[0].task),
            instructions=tuple(table),
            source={"command": "merge", "inputs": sources},
            episode_keys=columns,
        )
        picks = []
        for stored, its in zip(inputs, attributes, strict=True):
            new_ids = np.array([table.index(text) for text in its.instructions], np.int64)
            picks += [Pick(stored, i, new_ids) for i in range(stored.n_episodes)]
        return rewrite(picks, merged, out, progress, notes)


def check_fit(first: str, one: Attributes, second: str, other: Attributes) -> None:
    """Refuse sets that cannot be one.

    Raises:
        DemonstrationError: naming both sets and the first thing that differs.
    """
    for name in ("robot", "control_rate"):
        a, b = getattr(one, name), getattr(other, name)
        if a != b:
            raise DemonstrationError(f"{first} and {second} do not fit: {name} is {a!r} and {b!r}")
    for key in sorted(one.keys.keys() | other.keys.keys()):
        if key not in one.keys or key not in other.keys:
            has, lacks = (first, second) if key in one.keys else (second, first)
            raise DemonstrationError(
                f"{lacks} has no {key!r}, {has} has it; bridle data filter --drop {key} removes it"
            )
        a, b = asdict(one.keys[key]), asdict(other.keys[key])
        for name in ("shape", "dtype", "unit"):
            if a[name] != b[name]:
                raise DemonstrationError(
                    f"{first} and {second} do not fit: {name} of {key!r} is "
                    f"{a[name]!r} and {b[name]!r}"
                )


def _common_columns(
    paths: Sequence[Path | str], attributes: Sequence[Attributes]
) -> tuple[Mapping[str, str], list[str]]:
    """Per-episode columns that all have, and what is left out."""
    notes = []
    columns: dict[str, str] = {}
    for path, its in zip(paths, attributes, strict=True):
        for name, dtype in its.episode_keys.items():
            if all(a.episode_keys.get(name) == dtype for a in attributes):
                columns[name] = dtype
            else:
                notes.append(f"{path}: the episodes' {name} is left out: not all sets have it")
    return columns, notes
