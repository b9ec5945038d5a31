"""What must be stored for a set to be one, compared with what is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.arrays import Layout, StoredArray
from bridle.training.demonstrations.attributes import REQUIRED, Attributes
from bridle.training.demonstrations.completeness import check_arrays
from bridle.training.demonstrations.files import METADATA_LIMIT, StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import CHECKSUMS, ENDS, Problem, StoredSet

LARGEST_META_CHUNK = 64 << 20
"""Bytes of a chunk of per-episode numbers, decoded."""

Examined = tuple[StoredSet | None, list[Problem]]


def examine(files: StoredFiles) -> Examined:
    """Open a set; see `storage.opened`."""
    problems = [Problem("error", name, fault) for name, fault in files.faults]
    problems += _check_names(files)
    if problems:
        return None, problems
    # The ends first: a writer may go on meanwhile, and arrays that are read later have at least the
    # rows that these need.
    ends_problems: list[Problem] = []
    ends = _read_ends(files, ends_problems)
    metadata = _read_metadata(files, problems)
    if problems:
        return None, problems
    problems += ends_problems
    attributes = _read_attributes(metadata.get(".zattrs", {}), problems)
    arrays = _read_layouts(files, metadata, problems)
    if not any(name.startswith("data/") and name.endswith("/.zarray") for name in metadata):
        problems.append(Problem("error", "data", "holds no arrays"))
    if ends is None:
        lengths = {key: array.shape[0] for key, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            problems.append(Problem("error", "data", f"arrays differ in length: {lengths}"))
        return None, problems
    if not len(ends):
        problems.append(Problem("note", ENDS, "no episode is committed"))
    values, checksums = _read_columns(files, metadata, attributes, len(ends), problems)
    stored = StoredSet(arrays, ends, attributes, files, values, checksums)
    problems += check_arrays(stored)
    return stored, problems


def read_object(files: StoredFiles, name: str) -> dict[str, Any]:
    """A metadata file.

    Raises:
        DemonstrationError: it is too large, no JSON, or no object.
    """
    try:
        if files.size(name) > METADATA_LIMIT:
            raise DemonstrationError(f"is larger than the {METADATA_LIMIT >> 20} MiB of metadata")
        content = json.loads(files.read(name))
        # Half of a pair of surrogates is no text, and cannot be printed.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if isinstance(error, DemonstrationError):
            raise
        what = " ".join(str(error).split())[:200]
        raise DemonstrationError(f"is not readable JSON: {what}") from error
    if not isinstance(content, dict):
        raise DemonstrationError(f"expected a JSON object, got {type(content).__name__}")
    if not name.endswith(".zattrs") and content.get("zarr_format") != 2:
        raise DemonstrationError(f"expected zarr_format 2, got {content.get('zarr_format')!r:.50}")
    return content


def _check_names(files: StoredFiles) -> Iterator[Problem]:
    if "zarr.json" in files.names:
        yield Problem("error", "zarr.json", "expected zarr format 2, got format 3")
        return
    if ".zgroup" not in files.names:
        within = sorted(n for n in files.names if n.endswith(f"/{ENDS}/.zarray"))
        hint = f"; there is one inside: {within[0][: -len(ENDS) - 9]}" if within else ""
        yield Problem("error", ".zgroup", f"missing: {files.path} is not a zarr group{hint}")
        return
    for group in ("data", "meta"):
        if f"{group}/.zgroup" not in files.names:
            yield Problem("error", f"{group}/.zgroup", "missing")
    if f"{ENDS}/.zarray" not in files.names:
        yield Problem("error", f"{ENDS}/.zarray", "missing: no episode is committed")
    orphans: dict[str, str] = {}
    for name in sorted(files.names):
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "data" and parts[2][:1].isdigit():
            orphans.setdefault(f"data/{parts[1]}/.zarray", name)
    for metadata, chunk in orphans.items():
        if metadata not in files.names:
            yield Problem("error", metadata, f"missing, but there is {chunk}")


def _read_metadata(files: StoredFiles, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    contents = {}
    for name in sorted(files.names):
        folder, _, file = name.rpartition("/")
        of_the_set = folder.split("/")[0] in ("", "data", "meta")
        if of_the_set and file in (".zgroup", ".zattrs", ".zarray"):
            try:
                contents[name] = read_object(files, name)
            except DemonstrationError as error:
                problems.append(Problem("error", name, str(error)))
    return contents


def _read_ends(files: StoredFiles, problems: list[Problem]) -> NDArray[np.int64] | None:
    try:
        content = read_object(files, f"{ENDS}/.zarray")
        array = StoredArray(ENDS, Layout.from_json(content, LARGEST_META_CHUNK), files)
    except DemonstrationError as error:
        problems.append(Problem("error", f"{ENDS}/.zarray", str(error)))
        return None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        found = f"{array.dtype} {array.shape}"
        problems.append(Problem("error", ENDS, f"expected int64 (n_episodes,), got {found}"))
        return None
    ends = _read_whole(array, array.shape[0], problems)
    if ends is None:
        return None
    # What is beyond int64 becomes negative here, and is refused as that.
    signed = ends.astype(np.int64)
    wrong = np.flatnonzero(signed <= np.concatenate([[0], signed[:-1]])[: len(signed)])
    if not wrong.size:
        return signed
    episode = int(wrong[0])
    before, end = int(signed[episode - 1]) if episode else 0, int(signed[episode])
    what = "negative" if end < 0 else "empty episode" if end == before else "not increasing"
    message = f"{what}: expected an end above {before}, got {end}"
    problems.append(Problem("error", ENDS, message, episode=episode))
    return None


def _read_whole(array: StoredArray, n_rows: int, problems: list[Problem]) -> Array | None:
    """The first rows of an array of `meta/`; None, and a problem, if they cannot be read."""
    # A shape may claim anything: look for chunks until one is missing.
    for _, name in array.chunk_names(0, n_rows):
        if not array.files.has(name):
            problems.append(Problem("error", name, "the chunk is missing"))
            return None
    try:
        return array.read(0, n_rows)
    except DemonstrationError as error:
        problems.append(Problem("error", array.name, f"cannot be read: {error}"))
        return None


def _read_attributes(content: Mapping[str, Any], problems: list[Problem]) -> Attributes | None:
    if "bridle_schema" not in content:
        missing = ", ".join(name for name in REQUIRED if name not in content)
        problems.append(Problem("note", ".zattrs", f"not written by Bridle, missing: {missing}"))
        return None
    try:
        return Attributes.from_json(content)
    except DemonstrationError as error:
        problems.append(Problem("error", ".zattrs", str(error)))
        return None


def _read_layouts(
    files: StoredFiles, metadata: Mapping[str, dict[str, Any]], problems: list[Problem]
) -> dict[str, StoredArray]:
    arrays = {}
    for name, content in metadata.items():
        folder, _, file = name.rpartition("/")
        if file == ".zarray" and folder.startswith("data/"):
            try:
                arrays[folder.removeprefix("data/")] = StoredArray(
                    folder, Layout.from_json(content), files
                )
            except DemonstrationError as error:
                problems.append(Problem("error", name, str(error)))
    return arrays


def _read_columns(
    files: StoredFiles,
    metadata: Mapping[str, dict[str, Any]],
    attributes: Attributes | None,
    n_episodes: int,
    problems: list[Problem],
) -> tuple[dict[str, Array], NDArray[np.uint32] | None]:
    """Per-episode columns, and the checksums."""
    if attributes is None:
        return {}, None
    wanted: dict[str, tuple[tuple[int, ...], str]] = {
        f"meta/{name}": ((), dtype) for name, dtype in attributes.episode_keys.items()
    }
    if f"{CHECKSUMS}/.zarray" in metadata:
        wanted[CHECKSUMS] = ((len(attributes.keys),), "uint32")
    found: dict[str, Array] = {}
    for name, (shape, dtype) in wanted.items():
        if f"{name}/.zarray" not in metadata:
            problems.append(Problem("error", name, "the attributes name it, but it is not stored"))
            continue
        try:
            layout = Layout.from_json(metadata[f"{name}/.zarray"], LARGEST_META_CHUNK)
        except DemonstrationError as error:
            problems.append(Problem("error", f"{name}/.zarray", str(error)))
            continue
        rows, row_shape = layout.shape[0], layout.shape[1:]
        if row_shape != shape or layout.dtype != np.dtype(dtype) or rows < n_episodes:
            expected = f"{dtype} {(n_episodes, *shape)}"
            got = f"{layout.dtype} {layout.shape}"
            problems.append(Problem("error", name, f"expected {expected}, got {got}"))
            continue
        values = _read_whole(StoredArray(name, layout, files), n_episodes, problems)
        if values is not None:
            found[name.removeprefix("meta/")] = values
    return found, found.pop(CHECKSUMS.removeprefix("meta/"), None)
