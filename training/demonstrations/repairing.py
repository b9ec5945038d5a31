"""Bringing a damaged set back to one that can be used.

In place nothing is lost that was committed and is still there: leftovers go, metadata and ends are
written again, episodes whose rows never came to the disk are cut off. Leaving out the damaged
episodes takes a new set.
"""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bridle.training.demonstrations.files import StoredFiles
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.mending import Mending
from bridle.training.demonstrations.places import locate
from bridle.training.demonstrations.progress import Progress, silent
from bridle.training.demonstrations.rewriting import Pick, ours, rewrite
from bridle.training.demonstrations.salvage import Salvage, salvage
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.validation import validate


@dataclass(frozen=True)
class Repair:
    """What a repair did, or would do."""

    path: str
    out: str | None
    dry_run: bool
    done: tuple[str, ...]
    """Each thing that was put right."""
    lost: tuple[str, ...]
    """Each thing that could not be saved."""
    remaining: tuple[str, ...]
    """What is still wrong."""
    episodes: int
    """Episodes of the repaired set."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def repair(
    path: Path | str,
    out: Path | str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Repair:
    """Repair a set of Bridle's own.

    Args:
        path: the set. In place it must be a folder.
        out: new set for the episodes that are whole; None repairs in place.
        dry_run: only say what would be done.
        progress: told how far it is.

    Raises:
        DemonstrationError: too little is left of the set, it is not Bridle's, someone writes to
            it, or another set is at `out`.
    """
    place = locate(path)
    if out is not None and locate(out) == place:
        raise DemonstrationError(f"{out} is the damaged set itself; choose another --out")
    with ExitStack() as stack:
        if out is None and isinstance(place, Path) and place.is_dir() and not dry_run:
            stack.callback(WriteLock(place).release)
        files = StoredFiles(place)
        stack.callback(files.close)
        if out is None and not (isinstance(place, Path) and place.is_dir()):
            raise DemonstrationError(f"{path} is not a folder; --out makes a repaired set of it")
        if out is None and files.faults:
            name, fault = files.faults[0]
            raise DemonstrationError(
                f"{path}: {name} {fault}; remove it, or make a repaired set with --out"
            )
        found = salvage(files)
        found.examine(progress)
        if out is not None:
            return _into(found, path, out, dry_run, progress)
        assert isinstance(place, Path)
        return _in_place(found, place, dry_run, progress)


def _in_place(found: Salvage, path: Path, dry_run: bool, progress: Progress) -> Repair:
    keep = n = found.stored.n_episodes
    while keep and keep - 1 in found.torn:
        keep -= 1
    plan = Mending(found, path)
    remaining = _lost_ends(found)
    if "zarr.json" in found.stored.files.names:
        remaining.append("zarr.json: is of zarr format 3; remove it if it is stray")
    if remaining or (n and not keep):
        # Cutting here would throw away what may be saved by other means.
        keep = n
    else:
        plan.cut_to(keep)
    remaining += plan.remaining
    remaining += _lost(found, (i for i in _broken(found) if i < keep))
    if not dry_run:
        plan.apply()
        remaining = [str(p) for p in validate(path, progress) if p.severity == "error"]
    lost = _lost(found, range(keep, n))
    return Repair(str(path), None, dry_run, tuple(plan.done), tuple(lost), tuple(remaining), keep)


def _into(
    found: Salvage, path: Path | str, out: Path | str, dry_run: bool, progress: Progress
) -> Repair:
    """Write the whole episodes to a new set."""
    stored, broken = found.stored, _broken(found)
    attributes, columns = ours(stored), stored.episode_values
    whole = [i for i in range(stored.n_episodes) if i not in broken]
    lost = [*_lost(found, broken), *_lost_ends(found)]
    lost += [f"meta/{name} of all episodes" for name in found.lost_columns]
    if not whole:
        raise DemonstrationError(f"{path}: no episode is whole{f'; {lost[0]}' if lost else ''}")
    its = replace(
        attributes,
        source={
            "command": "repair",
            "left_out": broken,
            "input": {
                "episode_ends": hashlib.sha256(stored.episode_ends.tobytes()).hexdigest(),
                "source": dict(attributes.source),
            },
        },
        episode_keys={name: attributes.episode_keys[name] for name in columns},
    )
    if not dry_run:
        rewrite([Pick(stored, i) for i in whole], its, out, progress)
    done = [*found.mended, f"{len(whole)} of {stored.n_episodes} episodes are whole"]
    return Repair(str(path), str(out), dry_run, tuple(done), tuple(lost), (), len(whole))


def _broken(found: Salvage) -> list[int]:
    return sorted(found.torn.keys() | found.damaged.keys())


def _lost(found: Salvage, episodes: Iterable[int]) -> list[str]:
    lost = []
    for i in episodes:
        start, stop = found.stored.span(i)
        reason = found.torn.get(i) or found.damaged.get(i)
        lost.append(f"episode {i} (rows {start} to {stop - 1}): {reason}")
    return lost


def _lost_ends(found: Salvage) -> list[str]:
    if found.unknown_from is None:
        return []
    return [
        f"episodes from {found.unknown_from} on: neither checksums nor timestamps tell where they "
        "end"
    ]
