import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numcodecs
import numpy as np
import pytest

from bridle.training.converters import ConversionError
from bridle.training.converters.zarr_set import PUSHT_RATE, UMI_RATE
from tests.training.converters.foreign import (
    assert_same,
    convert,
    stored,
    write_pushed,
    write_set,
    write_zarr,
)


def zipped(folder):
    path = folder.with_suffix(".zarr.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("compressors", [numcodecs.Blosc("zstd"), None, numcodecs.Zlib(1)])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_store_gives_its_arrays(tmp_path, compressors, as_zip):
    path = tmp_path / "push.zarr"
    arrays = write_pushed(path, compressors=compressors)
    path = zipped(path) if as_zip else path
    convert(path, "--out", tmp_path / "out", "--rate", 10)
    found = stored(tmp_path / "out")
    assert found.episode_ends.tolist() == [20, 21, 51]
    assert found.attributes.control_rate == 10
    np.testing.assert_array_equal(found.arrays["action"], arrays["action"])
    np.testing.assert_array_equal(found.arrays["state"], arrays["state"])
    assert found.arrays["camera_img"].dtype == np.uint8
    np.testing.assert_array_equal(found.arrays["camera_img"], arrays["img"])


def test_no_rate_is_guessed(tmp_path):
    write_pushed(tmp_path / "push.zarr")
    with pytest.raises(ConversionError, match="give --rate HZ"):
        convert(tmp_path / "push.zarr", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_push_t_is_known_by_its_keys(tmp_path):
    steps = np.zeros((4, 2), np.float32)
    keys = ("action", "state", "keypoint", "n_contacts")
    write_zarr(tmp_path / "a.zarr", dict.fromkeys(keys, steps), [4])
    convert(tmp_path / "a.zarr", "--out", tmp_path / "out")
    assert stored(tmp_path / "out").attributes.control_rate == PUSHT_RATE


def test_timestamps_tell_the_rate_and_begin_at_zero(tmp_path):
    times = np.concatenate([1.7e9 + np.arange(5) / 8, 1.8e9 + np.arange(3) / 8])
    arrays = {"action": np.ones((8, 2), np.float32), "timestamp": times}
    write_zarr(tmp_path / "a.zarr", arrays, [5, 8])
    convert(tmp_path / "a.zarr", "--out", tmp_path / "out")
    found = stored(tmp_path / "out")
    assert found.attributes.control_rate == 8
    expected = np.concatenate([np.arange(5) / 8, np.arange(3) / 8])
    np.testing.assert_array_equal(found.arrays["timestamp"], expected)


@pytest.mark.parametrize("codec", ["Jpeg2k", "Jpegxl"])
def test_umi(tmp_path, codec):
    """As UMI writes it: one lossless image a chunk, poses, no action."""
    codecs = pytest.importorskip("imagecodecs.numcodecs")
    codecs.register_codecs(verbose=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 16, 18, 3), np.uint8)
    arrays = {
        "robot0_eef_pos": rng.random((7, 3), np.float32),
        "robot0_eef_rot_axis_angle": rng.random((7, 3), np.float32),
        "robot0_gripper_width": rng.random((7, 1), np.float32),
        "robot0_demo_start_pose": rng.random((7, 6)),
    }
    path = tmp_path / "umi.zarr"
    write_zarr(path, {**arrays, "camera0_rgb": images}, [4, 7], chunk=1)
    lossless = {"reversible": True} if codec == "Jpeg2k" else {"lossless": True}
    encoder = getattr(codecs, codec)(**lossless)
    metadata = path / "data/camera0_rgb/.zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"compressor": encoder.get_config()}))
    for i, image in enumerate(images):
        (path / f"data/camera0_rgb/{i}.0.0.0").write_bytes(encoder.encode(image))
    convert(zipped(path), "--out", tmp_path / "out")
    found = stored(tmp_path / "out")
    assert found.attributes.control_rate == pytest.approx(UMI_RATE)
    np.testing.assert_array_equal(found.arrays["camera_0"], images)
    names = ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width")
    joined = np.concatenate([arrays[name] for name in names], axis=1)
    np.testing.assert_array_equal(found.arrays["action"], joined)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], values)


def test_our_own_sets_copy_bit_by_bit_with_their_values(tmp_path):
    one = write_set(tmp_path / "a")
    convert(tmp_path / "a", "--out", tmp_path / "b")
    other = stored(tmp_path / "b")
    assert_same(one, other)
    assert other.attributes.keys == one.attributes.keys
    assert other.attributes.instructions == one.attributes.instructions
    assert other.attributes.source["origin"] == one.attributes.source
    for name in ("seed", "score"):
        np.testing.assert_array_equal(other.episode_values[name], one.episode_values[name])
    assert other.episode_values["source_episode"].tolist() == [0, 1, 2]


def test_the_result_may_be_a_zip(tmp_path):
    one = write_set(tmp_path / "a")
    convert(tmp_path / "a", "--out", tmp_path / "b.zip")
    assert_same(one, stored(tmp_path / "b.zip"))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert not [name for name in archive.namelist() if "convert" in name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b.zip"]


def test_a_store_behind_a_url(tmp_path):
    import fsspec

    path = tmp_path / "push.zarr"
    arrays = write_pushed(path)
    remote = fsspec.filesystem("memory")
    remote.put(str(path), "/converters/push.zarr", recursive=True)
    convert("memory://converters/push.zarr", "--out", tmp_path / "out", "--rate", 10)
    np.testing.assert_array_equal(stored(tmp_path / "out").arrays["action"], arrays["action"])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_a_whole_set_never_is_in_memory(tmp_path):
    """160 MB of images in chunks of 16 frames: a block is 16 MB, a chunk 1.5 MB."""
    frames = np.zeros((1700, 180, 174, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(1700) % 256
    arrays = {"action": np.ones((1700, 2), np.float32), "img": frames}
    write_zarr(tmp_path / "a.zarr", arrays, [1700], chunk=16, compressors=numcodecs.Blosc("lz4"))
    assert frames.nbytes > 150e6
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.training.converters.foreign import convert\n"
        "def memory(what):\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(l.split()[1]) for l in lines if l.startswith(what)) / 1024\n"
        "Path('/proc/self/clear_refs').write_text('5')\n"
        "before = memory('VmRSS')\n"
        "convert(*sys.argv[1:])\n"
        "print(memory('VmHWM') - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.zarr", "--out", tmp_path / "o", "--rate", "10"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 16 < float(done.stdout.split()[-1]) < 100


OLD_ZARR = """
import sys, numpy as np, zarr, numcodecs
assert zarr.__version__.startswith("2.18")
folder, rng = sys.argv[1], np.random.default_rng(0)
arrays = {
    "action": rng.random((60, 2), np.float32),
    "img": rng.integers(0, 256, (60, 12, 10, 3)).astype(np.float32),
    "n_contacts": rng.random((60, 1), np.float32),
}
np.savez(f"{folder}/expected.npz", **arrays)
kinds = {
    "dir": (zarr.DirectoryStore(f"{folder}/dir.zarr"), "default"),
    "plain": (zarr.DirectoryStore(f"{folder}/plain.zarr"), None),
    "zip": (zarr.ZipStore(f"{folder}/zip.zarr.zip"), numcodecs.Blosc("zstd", 5, 2)),
}
for store, compressor in kinds.values():
    root = zarr.group(store)
    data, meta = root.require_group("data"), root.require_group("meta")
    for name, values in arrays.items():
        chunks = (23, *values.shape[1:])
        data.create_dataset(name, data=values, chunks=chunks, compressor=compressor)
    meta.create_dataset("episode_ends", data=np.array([10, 35, 60]), compressor=None)
    store.close()
"""


@pytest.mark.slow
def test_what_zarr_2_wrote_is_read(tmp_path_factory):
    """A store of the zarr that diffusion_policy uses, written by that zarr itself."""
    folder = tmp_path_factory.mktemp("zarr2")
    python = folder / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "zarr==2.18.*", "numcodecs<0.16"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"zarr 2.18 cannot be installed here: {done.stderr.splitlines()[-1:]}")
    subprocess.run([python, "-c", OLD_ZARR, folder], check=True, env={**os.environ})
    expected = np.load(folder / "expected.npz")
    for name in ("dir.zarr", "plain.zarr", "zip.zarr.zip"):
        out = folder / f"out-{name}"
        convert(folder / name, "--out", out, "--rate", 10)
        found = stored(out)
        assert found.episode_ends.tolist() == [10, 35, 60]
        for key, target in (("action",) * 2, ("n_contacts",) * 2, ("img", "camera_img")):
            np.testing.assert_array_equal(found.arrays[target], expected[key])
