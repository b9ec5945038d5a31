"""What must be stored for a set to be one, compared with what is."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridle.training.demonstrations.arrays import Layout, StoredArray
from bridle.training.demonstrations.attributes import REQUIRED, Attributes
from bridle.training.demonstrations.codecs import BLOSC_HEADER, blosc_fault
from bridle.training.demonstrations.files import METADATA_LIMIT, StoredFiles
from bridle.training.demonstrations.schema import Array, DemonstrationError
from bridle.training.demonstrations.storage import CHECKSUMS, ENDS, Problem, StoredSet

LARGEST_META_CHUNK = 64 << 20
"""Bytes of a chunk of per-episode numbers, decoded."""
_LOOKED_FOR = 1000
"""Chunks that are looked for one by one; of more, only the number is said."""
_UNSTORED_BYTES, _UNSTORED_CHUNKS, _UNSTORED_SHARE = 256 << 20, 10_000, 100
"""How much a set of others may leave unstored, since it is zero, or the share of what it stores."""

Examined = tuple[StoredSet | None, list[Problem]]


def examine(files: StoredFiles) -> Examined:
    """Open a set; see `storage.opened`."""
    problems = [Problem("error", name, fault) for name, fault in files.faults]
    metadata = _read_metadata(files, problems)
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    # Its length first: arrays that are read later have at least the rows it needs.
    ends = _read_ends(files, problems)
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
    problems += _check_arrays(stored)
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


def _read_metadata(files: StoredFiles, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    if "zarr.json" in files.names:
        problems.append(Problem("error", "zarr.json", "expected zarr format 2, got format 3"))
        return {}
    if ".zgroup" not in files.names:
        within = sorted(n for n in files.names if n.endswith(f"/{ENDS}/.zarray"))
        hint = f"; there is one inside: {within[0][: -len(ENDS) - 9]}" if within else ""
        missing = f"missing: {files.path} is not a zarr group{hint}"
        problems.append(Problem("error", ".zgroup", missing))
        return {}
    for group in ("data", "meta"):
        if f"{group}/.zgroup" not in files.names:
            problems.append(Problem("error", f"{group}/.zgroup", "missing"))
    if f"{ENDS}/.zarray" not in files.names:
        problems.append(Problem("error", f"{ENDS}/.zarray", "missing: no episode is committed"))
    orphans: dict[str, str] = {}
    for name in sorted(files.names):
        parts = name.split("/")
        if len(parts) == 3 and parts[0] == "data" and parts[2][:1].isdigit():
            orphans.setdefault(f"data/{parts[1]}/.zarray", name)
    for metadata, chunk in orphans.items():
        if metadata not in files.names:
            problems.append(Problem("error", metadata, f"missing, but there is {chunk}"))
    contents = {}
    for name in sorted(files.names):
        folder, _, file = name.rpartition("/")
        if file in (".zgroup", ".zattrs", ".zarray") and folder.split("/")[0] in (
            *("", "data", "meta"),
        ):
            try:
                contents[name] = read_object(files, name)
            except DemonstrationError as error:
                problems.append(Problem("error", name, str(error)))
    return contents


def _read_ends(files: StoredFiles, problems: list[Problem]) -> NDArray[np.int64] | None:
    try:
        # Once more: a writer may have gone on since the listing.
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
    wrong = np.flatnonzero(np.diff(signed, prepend=0) <= 0)
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


def _check_arrays(stored: StoredSet) -> Iterator[Problem]:
    specs = stored.attributes.keys if stored.attributes else {}
    for key in sorted(specs.keys() - stored.arrays.keys()):
        if f"data/{key}/.zarray" not in stored.files.names:
            yield Problem("error", f"data/{key}", "the attributes name it, but it is not stored")
    files = _files_of_arrays(stored)
    for key, array in stored.arrays.items():
        where, n_steps = f"data/{key}", stored.n_steps
        if specs and key not in specs:
            yield Problem("note", where, "the attributes do not name it")
        if key in specs:
            spec = specs[key]
            if array.shape[1:] != spec.shape or array.dtype != np.dtype(spec.dtype):
                yield Problem(
                    "error",
                    where,
                    f"expected {spec.dtype} {spec.shape} per step as the attributes say, "
                    f"got {array.dtype} {array.shape[1:]}",
                )
        rows = array.shape[0]
        if rows < n_steps:
            yield Problem(
                "error",
                where,
                f"torn episode: episode_ends needs {n_steps} rows, got {rows}",
                row=rows,
                episode=stored.episode_of(rows),
            )
        if rows > n_steps:
            yield Problem("note", where, f"{rows - n_steps} uncommitted rows are ignored", n_steps)
        yield from _check_chunks(stored, array, min(rows, n_steps), files.get(array.name, []))


def _files_of_arrays(stored: StoredSet) -> dict[str, list[str]]:
    """The files in the folder of each array, and below it."""
    folders = {array.name for array in stored.arrays.values()}
    files: dict[str, list[str]] = {}
    for name in stored.files.names:
        folder = name.rpartition("/")[0]
        while folder and folder not in folders:
            folder = folder.rpartition("/")[0]
        if folder:
            files.setdefault(folder, []).append(name)
    return files


def _check_chunks(
    stored: StoredSet, array: StoredArray, n_rows: int, files: list[str]
) -> Iterator[Problem]:
    last = -(-n_rows // array.chunks[0])
    limits = (last, *(-(-s // c) for s, c in zip(array.shape[1:], array.chunks[1:], strict=True)))
    there = {}
    for name in files:
        index = array.chunk_index(name)
        if index is not None and all(i < n for i, n in zip(index, limits, strict=True)):
            there[index] = name
    total = array.n_chunks(n_rows)
    if len(there) < total:
        missing = _first_missing(stored, array, n_rows, there)
        if missing is not None:
            row, name = missing
            # Others may leave out chunks that are zero throughout; Bridle stores every chunk.
            absent = total - len(there)
            much = absent > _UNSTORED_SHARE * len(there) and (
                absent > _UNSTORED_CHUNKS or absent * array.chunk_bytes > _UNSTORED_BYTES
            )
            yield Problem(
                "error" if stored.attributes or much else "note",
                name,
                f"the chunk is missing and reads as {array.layout.fill_value} "
                f"({absent} of {total} are missing)",
                row,
                stored.episode_of(row),
            )
    largest = array.layout.codec.largest(array.chunk_bytes)
    for index, name in sorted(there.items()):
        row = index[0] * array.chunks[0]
        try:
            fault = _chunk_fault(stored.files, array, name, largest)
        except DemonstrationError as error:
            fault = str(error)
        if fault:
            yield Problem("error", name, fault, row, stored.episode_of(row))


def _first_missing(
    stored: StoredSet, array: StoredArray, n_rows: int, there: dict[tuple[int, ...], str]
) -> tuple[int, str] | None:
    """First row and file of the first chunk that is not there. Adds to `there` what came since."""
    unknown = ((i, name) for i, name in array.chunk_names(0, n_rows) if i not in there)
    first = None
    # A set may be written while it is read.
    for index, name in list(islice(unknown, _LOOKED_FOR)):
        if stored.files.has(name):
            there[index] = name
        elif first is None:
            first = (index[0] * array.chunks[0], name)
    return first


def _chunk_fault(files: StoredFiles, array: StoredArray, name: str, largest: int) -> str | None:
    size = files.size(name)
    if size > largest:
        return f"expected at most {largest} bytes, got {size}"
    codec = array.layout.codec
    if codec.name == "blosc" and files.are_near:
        exact = None if codec.has_filters else array.chunk_bytes
        return blosc_fault(files.read(name, BLOSC_HEADER), size, exact)
    if codec.name is None and not codec.has_filters and size != array.chunk_bytes:
        return f"truncated chunk: expected {array.chunk_bytes} bytes, got {size}"
    return None
