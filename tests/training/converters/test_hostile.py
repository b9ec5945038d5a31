"""Files that were made to do harm. Those of one format only are in that format's tests."""

import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from bridle.training.converters import ConversionError
from tests.training.converters.foreign import convert, truncate, write_pushed, write_robomimic


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def pickled(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"compressor": None, "filters": [{"id": "pickle"}]}))
    (store / "data/action/0.0").write_bytes(pickle.dumps(Bomb(folder / "bombed")))


def objects(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"dtype": "|O"}))


def vast(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"shape": [10**15, 2]}))
    (store / "meta/episode_ends/0").write_bytes(np.array([10**15] * 3, "<i8").tobytes())


def vast_chunk(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"chunks": [10**12, 2]}))


def negative(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"shape": [-5, 2]}))


def torn(folder, store):
    truncate(store / "data/img/0.0.0.0", 0.5)


def link(folder, store):
    (folder / "secret").write_bytes(bytes(10**5))
    (store / "data/action/0.0").unlink()
    (store / "data/action/0.0").symlink_to(folder / "secret")


def missing(folder, store):
    (store / "data/action/.zarray").unlink()


def shortened(folder, store):
    metadata = store / "data/action/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"shape": [40, 2]}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (pickled, "the filter 'pickle' is not read"),
        (objects, "dtype must be a type of numbers"),
        (vast, "dtype|from 0 to|is missing"),
        (vast_chunk, "at most .* are read|take .* bytes"),
        (negative, "shape must be a list of integers"),
        (torn, "data/img/0.0.0.0: rows 0 to .* cannot be read|truncated chunk"),
        (link, "data/action/0.0: is a symbolic link"),
        (missing, "data/action/.zarray: missing"),
        (shortened, "torn episode: episode_ends needs 51 rows, got 40"),
    ],
)
def test_zarr(tmp_path, spoil, says):
    write_pushed(tmp_path / "a.zarr", chunk=500, compressors=None)
    spoil(tmp_path, tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=says) as error:
        convert(tmp_path / "a.zarr", "--out", tmp_path / "out", "--rate", 10)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "bombed").exists()


def test_a_zip_that_leads_out(tmp_path):
    write_pushed(tmp_path / "a.zarr")
    path = tmp_path / "sub/a.zarr.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in (tmp_path / "a.zarr").rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path / "a.zarr"))
        archive.writestr("../../evil", "x")
    with pytest.raises(ValueError, match="leads out of the archive"):
        convert(path, "--out", tmp_path / "sub/out", "--rate", 10)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("part", [0.05, 0.5, 0.99])
def test_a_file_that_was_cut_off(tmp_path, part):
    write_robomimic(tmp_path / "a.hdf5")
    truncate(tmp_path / "a.hdf5", part)
    with pytest.raises(ConversionError, match="is not a readable HDF5 file"):
        convert(tmp_path / "a.hdf5", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rotten_hdf5_is_one_clear_line(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=4, image=False)
    sound = (tmp_path / "a.hdf5").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(20):
        data = bytearray(sound)
        for place in rng.integers(8, len(data), 40):
            data[place] ^= int(rng.integers(1, 256))
        (tmp_path / "b.hdf5").write_bytes(bytes(data))
        try:
            convert(tmp_path / "b.hdf5", "--out", tmp_path / f"out{i}", "--rate", 10)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["nothing", "text", "empty", "folder"])
def test_what_is_no_data_set_is_said(tmp_path, name):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConversionError, match=r"does not exist|of no format that is known"):
        convert(tmp_path / name, "--out", tmp_path / "out")


def test_the_data_set_next_door_is_named(tmp_path):
    write_pushed(tmp_path / "session/replay_buffer.zarr")
    with pytest.raises(ConversionError, match=r"is no data set, but .*replay_buffer.zarr is"):
        convert(tmp_path / "session", "--out", tmp_path / "out")


def test_a_library_that_is_not_installed_is_named(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=1)
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from bridle.training.converters import ConvertConfig, convert\n"
        "from pathlib import Path\n"
        "try: convert(ConvertConfig(Path(sys.argv[1]), Path(sys.argv[2])))\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.hdf5", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("h5py is not installed")
    assert "pip install 'bridle[convert]'" in done.stdout
