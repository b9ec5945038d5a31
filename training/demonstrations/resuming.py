"""Going on where a killed command stopped: the same set, asked for with the same settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.places import is_zip, locate
from bridle.training.demonstrations.schema import DemonstrationError, KeySpec
from bridle.training.demonstrations.staging import StagedWriter, staging_folder
from bridle.training.demonstrations.writer import DemonstrationWriter

W = TypeVar("W", bound=DemonstrationWriter)


def create_or_resume(
    path: Path | str,
    *,
    robot: str,
    task: str,
    control_rate: float,
    keys: Mapping[str, KeySpec],
    instructions: Sequence[str],
    source: Mapping[str, Any] | None = None,
    episode_keys: Mapping[str, str] | None = None,
) -> DemonstrationWriter:
    """Start a set, or continue the one there if all its attributes, `source` too, are the same.

    What a kill during the creation left is removed. `n_episodes` and `episode_values` of the
    writer say what is there already.

    Args:
        path: a folder; or a zip (a name that ends in .zip) or a URL, which are written to a folder
            on this machine first and come to their place whole when the writer is left without an
            error, or told to `finish`.
        robot: as in `DemonstrationWriter.create`, like all that follow.
        task: name of the task.
        control_rate: time steps per second [Hz].
        keys: what every episode must hold.
        instructions: sentences.
        source: where the set comes from.
        episode_keys: values that every episode brings once.

    Raises:
        DemonstrationError: another set is there (the message names the first difference), it is
            damaged, a value is wrong, or someone else writes to it.
    """
    attributes = Attributes(
        robot,
        task,
        control_rate,
        dict(keys),
        tuple(instructions),
        {} if source is None else source,
        {} if episode_keys is None else episode_keys,
    )
    return create_or_resume_with(path, attributes)


def create_or_resume_with(path: Path | str, attributes: Attributes) -> DemonstrationWriter:
    """The same for attributes that are built already."""
    place = locate(path)
    if isinstance(place, Path) and not is_zip(place):
        return _continued(DemonstrationWriter, place, attributes)
    writer = _continued(StagedWriter, staging_folder(place), attributes)
    writer.destination = place
    return writer


def _continued(kind: type[W], path: Path, attributes: Attributes) -> W:
    if not path.exists():
        return kind.create_with(path, attributes)
    if not (path / ".zgroup").is_file():
        # Asked before its files are looked at: it may be anything, of any size.
        raise DemonstrationError(
            f"{path} exists and is no demonstration set; choose another --out or remove it"
        )
    writer = kind.open(path)
    difference = first_difference("", writer.attributes.to_json(), attributes.to_json())
    if difference is not None:
        writer.close()
        raise DemonstrationError(
            f"{path} holds another set: {difference}; choose another --out or remove it"
        )
    return writer


def first_difference(where: str, held: Any, wanted: Any) -> str | None:
    """Where two JSON values differ first, "source.seed is 0, asked for 1"; None if nowhere."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for name in [*wanted, *(name for name in held if name not in wanted)]:
            place = f"{where}.{name}" if where else str(name)
            if name not in held:
                return f"{place} is not there, asked for {wanted[name]!r}"
            if name not in wanted:
                return f"{place} is {held[name]!r}, not asked for"
            difference = first_difference(place, held[name], wanted[name])
            if difference:
                return difference
        return None
    # True == 1 in Python, not in JSON.
    same = held == wanted and isinstance(held, bool) == isinstance(wanted, bool)
    return None if same else f"{where} is {held!r}, asked for {wanted!r}"
