import os
import pickle
import tracemalloc

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.demonstrations import DemonstrationError, load
from bridle.training.demonstrations.codecs import Codec
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import edit_json, errors

COMPRESSORS = {
    "blosc-lz4": numcodecs.Blosc("lz4"),
    "blosc-zstd": numcodecs.Blosc("zstd", shuffle=numcodecs.Blosc.BITSHUFFLE),
    "blosc-zlib": numcodecs.Blosc("zlib", shuffle=numcodecs.Blosc.NOSHUFFLE),
    "zstd": numcodecs.Zstd(3),
    "lz4": numcodecs.LZ4(),
    "zlib": numcodecs.Zlib(1),
    "gzip": numcodecs.GZip(1),
    "bz2": numcodecs.BZ2(1),
    "lzma": numcodecs.LZMA(),
    "none": None,
}


def stored_as(path, rows, chunks, compressor, filters=None, order="C"):
    """A set as zarr writes it."""
    root = zarr.create_group(path, zarr_format=2)
    options = {"filters": filters} if filters else {}
    array = root.create_array(
        "data/action",
        shape=rows.shape,
        dtype=rows.dtype,
        chunks=chunks,
        compressors=compressor,
        order=order,
        **options,
    )
    array[:] = rows
    root.create_array("meta/episode_ends", data=np.array([len(rows)]), compressors=None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "|b1"])
def test_what_zarr_writes_is_read(tmp_path, name, order, dtype):
    rows = (100 * np.random.default_rng(0).random((57, 5, 3))).astype(dtype)
    stored_as(tmp_path / "set", rows, (10, 4, 3), COMPRESSORS[name], order=order)
    assert errors(tmp_path / "set") == []
    np.testing.assert_array_equal(load(tmp_path / "set").arrays["action"], rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "filters",
    [
        [numcodecs.Delta("<i4")],
        [numcodecs.Shuffle(4)],
        [numcodecs.CRC32()],
        [numcodecs.Delta("<i4"), numcodecs.Shuffle(4)],
        [numcodecs.FixedScaleOffset(offset=0, scale=1, dtype="<i4", astype="|u1")],
        [numcodecs.AsType("<i8", "<i4")],
    ],
)
def test_filters_of_numbers_are_undone(tmp_path, filters):
    rows = np.random.default_rng(0).integers(0, 200, (57, 5), dtype=np.int32)
    stored_as(tmp_path / "set", rows, (10, 5), numcodecs.Blosc("lz4"), filters)
    np.testing.assert_array_equal(load(tmp_path / "set").arrays["action"], rows)
    assert errors(tmp_path / "set") == []


# Codecs that run code


class Canary:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return os.mkdir, (self.file,)


@pytest.mark.parametrize("codec", ["pickle", "json2", "vlen-utf8", "msgpack2", "vlen-array", "x"])
@pytest.mark.parametrize("place", ["compressor", "filter"])
def test_codecs_of_objects_are_refused_and_never_run(recorded, tmp_path, codec, place):
    (recorded / "data/action/0.0").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    config = {"id": codec, "protocol": 5}
    change = {"compressor": config} if place == "compressor" else {"filters": [config]}
    edit_json(recorded, "data/action/.zarray", lambda c: c.update(change))
    assert f"{codec!r} is not read" in str(errors(recorded)[0])
    with pytest.raises(DemonstrationError, match="is not read"):
        load(recorded)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("dtype", ["|O", "O", "|S8", "<U4", "<M8[s]", "<c16", "|V4", "<f16", "f4"])
def test_dtypes_of_objects_are_refused(recorded, tmp_path, dtype):
    (recorded / "data/action/0.0").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    edit_json(recorded, "data/action/.zarray", lambda c: c.update(dtype=dtype))
    assert f"dtype must be a type of numbers, got {dtype!r}" in str(errors(recorded)[0])
    assert not (tmp_path / "canary").exists()


def test_object_types_in_the_settings_of_a_filter_are_refused():
    for config in (
        {"id": "delta", "dtype": "|O"},
        {"id": "astype", "encode_dtype": "O", "decode_dtype": "<f4"},
        {"id": "fixedscaleoffset", "offset": 0, "scale": 1, "dtype": ["<f4"]},
    ):
        with pytest.raises(DemonstrationError, match="must be a type of numbers"):
            Codec(None, [config])


@pytest.mark.parametrize("config", [5, "blosc", [], {}, {"id": 3}, {"id": ["blosc"]}])
def test_a_codec_is_an_object_with_an_id(config):
    with pytest.raises(DemonstrationError, match="a codec must be an object with an id"):
        Codec(config, None)
    with pytest.raises(DemonstrationError, match="an object with an id"):
        Codec(None, [config])


# Sizes that are claimed


def zstd_frame(size):
    """A frame that claims to hold `size` bytes (RFC 8878)."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11000000 | 0b00100000]) + size.to_bytes(8, "little")


BOMBS = {
    "blosc": bytes([2, 1, 0x21, 4])
    + (1 << 31).to_bytes(4, "little")
    + (1 << 20).to_bytes(4, "little")
    + (40).to_bytes(4, "little")
    + bytes(24),
    "lz4": (1 << 30).to_bytes(4, "little") + bytes(40),
    "zstd": zstd_frame(1 << 40) + bytes(40),
    "zlib": numcodecs.Zlib(9).encode(bytes(64 << 20)),
    "gzip": numcodecs.GZip(9).encode(bytes(64 << 20)),
    "bz2": numcodecs.BZ2(9).encode(bytes(64 << 20)),
    "lzma": numcodecs.LZMA(preset=1).encode(bytes(64 << 20)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_that_claims_more_than_it_should_allocates_nothing(name):
    codec = Codec({"id": name}, None)
    content = BOMBS[name][: codec.largest(4000)]
    tracemalloc.start()
    with pytest.raises(DemonstrationError):
        codec.decode(content, 4000)
    # bz2 and lzma have dictionaries of a few MiB.
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", BOMBS)
def test_so_does_one_in_a_set(recorded, name):
    (recorded / "data/action/0.0").write_bytes(BOMBS[name])
    edit_json(recorded, "data/action/.zarray", lambda c: c.update(compressor={"id": name}))
    assert errors(recorded)[0].where.startswith("data/action")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(BOMBS)), st.binary(max_size=200), st.integers(0, 10_000))
def test_any_bytes_are_decoded_or_refused(name, content, n_bytes):
    try:
        decoded = Codec({"id": name}, None).decode(content, n_bytes)
    except DemonstrationError:
        return
    assert len(decoded) == n_bytes


HUGE = 10**15


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [HUGE, 7]},
        {"shape": [HUGE, 7], "chunks": [1, 7]},
        {"chunks": [10**12, 7]},
        {"shape": [51, HUGE], "chunks": [1000, 7]},
        {"shape": [51, 10**30]},
        {"shape": [51.5, 7]},
        {"shape": [True, 7]},
        {"shape": [-51, 7]},
        {"shape": "51"},
        {"shape": None},
        {"chunks": [1000, -7]},
        {"chunks": [1000, 7, 1, 1]},
        {"shape": [51, 0], "chunks": [1000, 1]},
        {"fill_value": "much"},
        {"fill_value": [0]},
        {"order": "A"},
        {"order": ["C"]},
        {"dimension_separator": ""},
        {"filters": "delta"},
        {"compressor": {"id": "blosc", "cname": 7}},
        {"compressor": {"id": "blosc", "clevel": [[[]]]}},
        {"zarr_format": "2"},
    ],
)
@pytest.mark.parametrize("name", ["data/action", "meta/episode_ends", "meta/checksums"])
def test_metadata_of_a_wrong_kind_is_an_error_without_memory(recorded, name, change):
    edit_json(recorded, f"{name}/.zarray", lambda c: c.update(change))
    tracemalloc.start()
    found = validate(recorded)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    if change == {"shape": [HUGE, 7]} and name != "meta/episode_ends":
        # More rows than the ends claim are what a crash leaves.
        assert errors(recorded) == []
    else:
        assert [p for p in found if p.severity == "error" and p.where.startswith(name)]


def test_huge_sets_of_others_are_an_error_without_memory(tmp_path):
    rows = np.zeros((51, 7), np.float32)
    stored_as(tmp_path / "set", rows, (10, 7), None)
    ends = np.array([HUGE])
    (tmp_path / "set/meta/episode_ends/0").write_bytes(ends.tobytes())
    edit_json(tmp_path / "set", "data/action/.zarray", lambda c: c.update(shape=[HUGE, 7]))
    tracemalloc.start()
    found = errors(tmp_path / "set")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert "the chunk is missing and reads as" in str(found[0])
    with pytest.raises(DemonstrationError, match="the chunk is missing"):
        load(tmp_path / "set")
