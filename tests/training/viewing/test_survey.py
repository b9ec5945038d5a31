"""Numbers of any shape are surveyed and drawn, in little memory."""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from bridle.training.demonstrations.storage import opened_sound
from bridle.training.viewing.keys import ALL_CHANNELS, SOME_CHANNELS
from bridle.training.viewing.pictures import sampled_scale
from bridle.training.viewing.plots import draw_key
from bridle.training.viewing.reading import Reader
from bridle.training.viewing.sheets import write_sheets
from bridle.training.viewing.survey import survey, thinned
from bridle.training.viewing.totals import Totals
from tests.training.viewing.sets import record_foreign

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=5)
SHAPES = st.sampled_from([(), (1,), (3,), (2, 2), (4, 1, 2), (130,), (2, 3, 5)])
DTYPES = st.sampled_from(["float32", ">f8", "float16", "int64", "uint8", "bool"])


@contextmanager
def reading(folder, lengths, **arrays):
    """A set of others with these arrays."""
    record_foreign(folder / "set", np.cumsum(lengths), **arrays)
    with opened_sound(folder / "set") as (stored, _):
        yield Reader(stored, folder / "set", range(len(lengths)))


@settings(max_examples=25)
@given(lengths=LENGTHS, shape=SHAPES, dtype=DTYPES, seed=st.integers(0, 99))
def test_any_key_has_the_statistics_that_numpy_finds(tmp_path_factory, lengths, shape, dtype, seed):
    n = sum(lengths)
    rows = (200 * np.random.default_rng(seed).random((n, *shape))).astype(dtype)
    with reading(tmp_path_factory.mktemp("odd"), lengths, odd=rows) as reader:
        key = reader.keys["odd"]
        found = survey(reader, key)
    flat = rows.reshape(n, -1)[:, key.channels].astype(float)
    np.testing.assert_array_equal(found.low, flat.min(axis=0))
    np.testing.assert_array_equal(found.high, flat.max(axis=0))
    np.testing.assert_array_equal(found.sampled(), flat)
    starts = np.cumsum([0, *lengths[:-1]])
    parts = [np.abs(np.diff(flat[a : a + t], axis=0)) for a, t in zip(starts, lengths, strict=True)]
    steps = np.concatenate(parts)
    if len(steps):
        np.testing.assert_array_equal(found.steepest.value, steps.max(axis=0))
    at = starts[found.highest.episode] + found.highest.step
    np.testing.assert_array_equal(flat[at, np.arange(flat.shape[1])], found.high)


@settings(max_examples=6)
@given(lengths=LENGTHS, shape=st.sampled_from([(), (1,), (3,), (2, 2)]), dtype=DTYPES)
def test_any_key_can_be_drawn(tmp_path_factory, lengths, shape, dtype):
    folder = tmp_path_factory.mktemp("odd")
    rows = (200 * np.random.default_rng(0).random((sum(lengths), *shape))).astype(dtype)
    with reading(folder, lengths, odd=rows) as reader:
        (page,) = draw_key(reader, survey(reader, reader.keys["odd"]), folder, "odd")
    width, height = Image.open(page).size
    assert width == 1430
    assert height > 300


def test_many_channels_are_shown_on_several_pages(tmp_path):
    with reading(tmp_path, [2, 3], rows=np.random.default_rng(0).random((5, 26))) as reader:
        found = survey(reader, reader.keys["rows"])
        pages = draw_key(reader, found, tmp_path, "rows")
    assert [page.name for page in pages] == ["rows.png", "rows-2.png"]
    tall, short = (Image.open(page).size[1] for page in pages)
    assert tall > 3 * short  # 24 and 2 channels


def test_very_many_channels_are_shown_in_part(tmp_path):
    rows = np.random.default_rng(0).random((5, ALL_CHANNELS + 1))
    with reading(tmp_path, [2, 3], rows=rows) as reader:
        found = survey(reader, reader.keys["rows"])
    assert len(found.high) == SOME_CHANNELS
    assert (found.key.channels[0], found.key.channels[-1]) == (0, ALL_CHANNELS)


@pytest.mark.parametrize("value", [0.0, 2.5, np.nan])
def test_what_never_changes_is_drawn(tmp_path, value):
    with reading(tmp_path, [4, 1], constant=np.full((5, 2), value)) as reader:
        found = survey(reader, reader.keys["constant"])
        (page,) = draw_key(reader, found, tmp_path, "constant")
    assert found.constant.all()
    assert Image.open(page).size[1] > 200


@given(
    values=arrays.arrays(float, st.integers(1, 300), elements=st.floats(-1e6, 1e6)),
    points=st.integers(2, 60),
)
def test_a_thinned_line_loses_no_peak(values, points):
    steps, line = thinned(np.arange(len(values)), values[:, None], points)
    assert len(steps) == len(line) <= max(points, 2)
    assert line.min() == values.min()
    assert line.max() == values.max()
    assert (np.diff(steps) >= 0).all()
    assert set(line[:, 0]) <= set(values)


def test_memory_holds_a_few_chunks_however_large_the_set_is(tmp_path):
    frames = np.zeros((600, 128, 128, 3), np.uint8)
    frames += np.arange(600, dtype=np.uint8)[:, None, None, None]
    size = frames.nbytes
    with reading(tmp_path, [300, 300], camera_front=frames) as reader:
        del frames
        key = reader.keys["camera_front"]
        tracemalloc.start()
        found = survey(reader, key)
        scales = {key.name: sampled_scale(reader, key)}
        write_sheets(reader, Totals(), scales, [], "", tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 0.5 * size
    assert peak < 14e6  # three blocks of 4 MB
    assert found.high.tolist() == [255, 255, 255]
