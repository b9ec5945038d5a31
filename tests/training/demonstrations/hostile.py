"""Damages sets at random, and looks at them through the command line in a process with a limit.

usage: python hostile.py FOLDER FIRST LAST      prints what went wrong, seed by seed
"""

import contextlib
import io
import json
import os
import pickle
import random
import resource
import shutil
import stat
import sys
import traceback
import warnings
import zipfile
from pathlib import Path

import numpy as np

from bridle import cli
from bridle.training.demonstrations import DemonstrationError, load
from bridle.training.demonstrations.zips import pack

MEMORY = 1 << 30
"""Address space [bytes] that looking at a set may take beyond what is taken already."""
RESIDENT = 200 << 20
"""Memory [bytes] that it may really use."""

JUNK = [
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**53, 2**63, 10**15, 10**30, -(10**30), 0.5, 1e300),
    *(float("nan"), float("inf"), "", "x", "51", "<f4", "\ud800", "\x1b[31m", "é" * 300, "../up"),
    *([], [0], [-1], [10**15, 7], [51, 7, 7, 7], [[]], {}, {"id": "pickle"}, {"a": {"b": [1]}}),
]
DTYPES = [
    *("|O", "O", "object", "<f3", ">f4", "<f8", "|u1", "<i8", "<U9", "|S3", "<M8[ns]", "<c8"),
    *("|V8", "float32", "", "<", [["a", "<f4"]], "<f4,<f4", "f4\x00", "<i4" * 100, {"f": 1}),
]
CODECS = [
    *({"id": name} for name in ("pickle", "json2", "vlen-utf8", "msgpack2", "zstd", "lz4", "zlib")),
    *({"id": name} for name in ("gzip", "bz2", "lzma", "blosc", "packbits", "categorize", "delta")),
    {"id": "delta", "dtype": "|O"},
    {"id": "quantize", "digits": 3, "dtype": "<f4"},
    {"id": "blosc", "cname": "evil", "clevel": -9},
    {"id": "blosc", "blocksize": 2**40},
    {"id": "fixedscaleoffset", "scale": 0, "offset": 0, "dtype": "<f4", "astype": "|u1"},
    {"id": "astype", "encode_dtype": "<f4", "decode_dtype": "|O"},
    {"id": "zstd", "level": 10**9},
    {"id": ["blosc"]},
    {"id": "imagecodecs_jpegxl"},
]


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def files(path):
    return sorted(f for f in path.rglob("*") if f.is_file() and not f.is_symlink())


def a_file(path, rng, name="*"):
    return rng.choice([f for f in files(path) if f.match(name)] or files(path))


def flip(path, rng):
    file = a_file(path, rng)
    content = bytearray(file.read_bytes())
    for _ in range(rng.randrange(1, 20)):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)


def remove(path, rng):
    a_file(path, rng).unlink()


def remove_folder(path, rng):
    folders = sorted(f for f in path.rglob("*") if f.is_dir() and not f.is_symlink())
    shutil.rmtree(rng.choice(folders))


def truncate(path, rng):
    file = a_file(path, rng)
    os.truncate(file, rng.randrange(file.stat().st_size + 1))


def extend(path, rng):
    with a_file(path, rng).open("ab") as file:
        file.write(rng.randbytes(rng.choice([1, 100, 100_000])))


def overwrite(path, rng):
    a_file(path, rng).write_bytes(rng.randbytes(rng.choice([0, 1, 16, 500, 5000])))


def swap(path, rng):
    one, other = a_file(path, rng), a_file(path, rng)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def edit(path, rng, name=".z*", change=None):
    file = a_file(path, rng, name)
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return
    holder = content
    # Down to some object or list inside it.
    while change is None and holder and rng.random() < 0.5:
        inner = holder.values() if isinstance(holder, dict) else holder
        deeper = [value for value in inner if isinstance(value, dict | list)]
        if not deeper:
            break
        holder = rng.choice(deeper)
    if change is not None and isinstance(content, dict):
        content |= change
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), rng.choice(JUNK))
    elif isinstance(holder, dict):
        key = rng.choice([*holder, "more"])
        if rng.random() < 0.2:
            holder.pop(key, None)
        else:
            holder[key] = rng.choice(JUNK)
    file.write_text(json.dumps(content))


def edit_dtype(path, rng):
    edit(path, rng, ".zarray", {"dtype": rng.choice(DTYPES)})


def edit_codec(path, rng):
    codec = rng.choice(CODECS)
    change = {"compressor": codec} if rng.random() < 0.5 else {"filters": [codec]}
    edit(path, rng, ".zarray", change)


def edit_shape(path, rng):
    sizes = [0, 1, 7, 51, 1000, 10**6, 10**9, 10**12, 10**15, 2**63, -1]
    n = rng.randrange(1, 4)
    name = rng.choice(["shape", "chunks"])
    edit(path, rng, ".zarray", {name: [rng.choice(sizes) for _ in range(n)]})


def nest(path, rng):
    depth = rng.choice([100, 10_000, 200_000])
    a_file(path, rng, ".z*").write_text("[" * depth + "]" * (depth if rng.random() < 0.5 else 0))


def plant_pickle(path, rng):
    file = a_file(path, rng, "data/*/0*")
    file.write_bytes(pickle.dumps(np.array([Evil(path.parent / "canary")], object)))
    codec = {"id": "pickle", "protocol": 5}
    change = rng.choice(
        [{"compressor": codec}, {"filters": [codec]}, {"dtype": "|O", "filters": [codec]}]
    )
    metadata = file.parent / ".zarray"
    if metadata.exists():
        edit(file.parent, rng, ".zarray", change)


def ends(path, rng):
    numbers = [rng.choice([0, 1, 30, 31, 51, 52, 10**6, 2**62, -1, -(2**63)]) for _ in range(3)]
    chunk = np.zeros(1000, np.int64)
    chunk[:3] = numbers
    (path / "meta/episode_ends").mkdir(exist_ok=True)
    (path / "meta/episode_ends/0").write_bytes(chunk.tobytes())


def link(path, rng):
    beside = path.parent / "beside"
    target = rng.choice([beside / "file", beside, path, path / "nowhere", path / "loop"])
    old = rng.choice(sorted(path.rglob("*")))
    name = old if rng.random() < 0.7 else old.parent / "0.0.partial"
    if name.is_dir() and not name.is_symlink():
        shutil.rmtree(name)
    else:
        name.unlink(missing_ok=True)
    name.symlink_to(target)


def special(path, rng):
    file = a_file(path, rng)
    file.unlink()
    if rng.random() < 0.5:
        file.mkdir()
    else:
        os.mkfifo(file)


def stray(path, rng):
    names = [
        *(b"data/action/99999999999999999999.0", b"data/action/-1.0", b"data/action/0.0.0"),
        *(b"data/\xff/.zarray", b"data/a\nb/0", b"data/action/007.0", b"zarr.json", b".zmetadata"),
        *(b"data/x/.zarray", b"data/x/y/.zarray", b"meta/x/.zarray", b".zattrs.partial"),
    ]
    file = path / os.fsdecode(rng.choice(names))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(rng.choice([b"", b"{}", b'{"zarr_format": 2}', rng.randbytes(50)]))


def unfinished(path, rng):
    """NaN where numbers should be, in a chunk that decodes."""
    import zarr

    with contextlib.suppress(Exception):
        array = zarr.open_group(path, mode="a", zarr_format=2)["data/action"]
        array[rng.randrange(51), rng.randrange(7)] = rng.choice([np.nan, np.inf, 1e30, 0])


HARMS = [
    *(flip, flip, remove, remove_folder, truncate, truncate, extend, overwrite, swap),
    *(edit, edit, edit, edit, edit_dtype, edit_codec, edit_codec, edit_shape, edit_shape, nest),
    *(plant_pickle, ends, link, link, special, stray, unfinished),
]


def packed(path, rng):
    """A zip of a set, with something wrong about the zip itself."""
    archive = path.with_name("packed.zip")
    pack(path, archive)
    trick = rng.randrange(6)
    if trick == 0:
        names = ["../up", "/abs", "data/../../up", "a\\b", "data/action/0.0", "\x1b[31m", ".zattrs"]
        with zipfile.ZipFile(archive, "a") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.writestr(rng.choice(names), b"x")
    elif trick == 1:
        entry = zipfile.ZipInfo(rng.choice(["data/action/5.0", "link", ".zattrs"]))
        entry.external_attr = (rng.choice([stat.S_IFLNK, stat.S_IFIFO]) | 0o777) << 16
        with zipfile.ZipFile(archive, "a") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.writestr(entry, str(path.parent / "beside/file"))
    elif trick == 2:
        os.truncate(archive, rng.randrange(archive.stat().st_size))
    else:
        content = bytearray(archive.read_bytes())
        # The directory is at the end.
        first = len(content) - (3000 if trick == 3 else len(content))
        for _ in range(rng.randrange(1, 30)):
            content[rng.randrange(first, len(content))] = rng.randrange(256)
        archive.write_bytes(content)
    return archive


def damaged(folder, template, seed):
    """A folder with a damaged set in it, and with things outside it that nobody may touch."""
    rng = random.Random(seed)
    (folder / "beside").mkdir(parents=True)
    (folder / "beside/file").write_text("untouched")
    path = folder / "set"
    shutil.copytree(template, path)
    if rng.random() < 0.15:
        return packed(path, rng)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        # What an earlier harm has made of the set may leave nothing to do.
        with contextlib.suppress(OSError, IndexError):
            rng.choice(HARMS)(path, rng)
    if rng.random() < 0.1:
        with contextlib.suppress(DemonstrationError):
            return packed(path, rng)
    return path


def command(*arguments):
    """Exit status and output of a command; its error output is one line, and no traceback."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(["data", *map(str, arguments)])
    said = err.getvalue()
    out.getvalue().encode()
    assert status in (0, 1, 2), f"{arguments}: status {status}: {said}"
    if status == 2:
        assert said.startswith("bridle: "), said
        assert said.count("\n") == 1, said
    else:
        assert said == "", said
    return status, out.getvalue()


def snapshot(folder, *left_out):
    found = {}
    for place in folder.rglob("*"):
        if not any(str(place).startswith(str(path)) for path in left_out):
            status = place.lstat()
            found[place] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def look(folder, path):
    """Everything that is done with sets, to a damaged one."""
    out = folder / "out"
    before, around = snapshot(folder), snapshot(folder, out, path)
    command("info", path)
    command("stats", path)
    status, said = command("validate", path)
    assert status in (0, 1), status
    assert (status == 1) == ("error:" in said), said
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(path)
        loaded = True
    except DemonstrationError:
        loaded = False
    assert loaded or status == 1, "valid, and not loaded"
    command("repair", path, "--dry-run")
    assert snapshot(folder) == before, "looking has changed something"
    if command("repair", path, "--out", out)[0] == 0:
        assert command("validate", out)[0] == 0, "the repaired set is damaged"
    assert snapshot(folder, out) == before, "repairing to elsewhere has changed something"
    mended = command("repair", path)[0]
    assert snapshot(folder, out, path) == around, "repair left the set"
    if mended == 0:
        assert command("validate", path)[0] == 0, "the repaired set is damaged"


def main(folder, first, last):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    template, failed = folder / "template", 0
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for seed in range(first, last):
        place = folder / f"seed-{seed}"
        try:
            path = damaged(place, template, seed)
            look(place, path)
            assert not (place / "canary").exists(), "a pickle was run"
            assert (place / "beside/file").read_text() == "untouched"
        except BaseException:
            failed += 1
            print(f"seed {seed}:\n{traceback.format_exc()}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - resident
    print(f"{failed} failed, {more >> 20} MiB more")
    return 1 if failed or more > RESIDENT else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
