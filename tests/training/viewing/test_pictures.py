"""Pictures of every kind become RGB."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bridle.training.viewing.keys import Key
from bridle.training.viewing.pictures import Scale, fitted, to_rgb


def key(name, shape, dtype):
    return Key.of(name, shape, np.dtype(dtype), None)


def rgb(name, frame):
    made = key(name, frame.shape, frame.dtype)
    assert made.layout is not None
    return to_rgb(made, frame, Scale.of(made, [frame]))


SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3, 4])),
    st.tuples(st.sampled_from([1, 3, 4]), st.integers(8, 12), st.integers(8, 12)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
DTYPES = st.sampled_from(["uint8", "bool", "int16", "uint16", "float16", "float32", ">f8"])


@given(shape=SHAPES, dtype=DTYPES, name=st.sampled_from(["camera_a", "depth_a"]), data=st.data())
def test_any_frame_becomes_rgb_of_its_size(shape, dtype, name, data):
    frame = data.draw(arrays.arrays(dtype, shape))
    made = key(name, shape, dtype)
    picture = rgb(name, frame)
    assert picture.dtype == np.uint8
    size = {"HWC": shape[:2], "CHW": shape[1:], "HW": shape}[made.layout]
    assert picture.shape == (*size, 3)


def test_colours_stay_what_they_are():
    frame = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    np.testing.assert_array_equal(rgb("camera_a", frame), frame)
    np.testing.assert_array_equal(rgb("camera_a", frame.transpose(2, 0, 1)), frame)
    np.testing.assert_array_equal(rgb("camera_a", frame.astype(np.float32)), frame)
    np.testing.assert_array_equal(rgb("img", (frame / 255).astype(np.float32)), frame)


def test_grey_and_transparent_pictures():
    grey = np.array([[[0], [100]], [[200], [255]]], np.uint8)
    np.testing.assert_array_equal(rgb("camera_a", grey), np.repeat(grey, 3, axis=2))
    clear = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], np.uint8)
    np.testing.assert_array_equal(rgb("camera_a", clear)[0], [[255, 255, 255], [10, 20, 30]])


def test_near_is_bright_and_far_is_dark_in_depth():
    picture = rgb("depth_a", np.linspace(0.2, 3, 64, dtype=np.float32).reshape(8, 8)).astype(int)
    assert picture[0, 0].sum() > picture[-1, -1].sum() + 200


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "layout"),
    [
        ("img", (96, 96, 3), "float32", "HWC"),
        ("img", (3, 96, 96), "float32", "CHW"),
        ("camera_front", (2, 2, 3), "uint8", "HWC"),
        ("depth_front", (48, 64), "float32", "HW"),
        ("keypoint", (9, 2), "float32", None),
        ("point_cloud", (1024, 6), "float32", None),
        ("rotation", (3, 3, 3), "float32", None),
        ("flow", (48, 64, 2), "float32", None),
    ],
)
def test_what_is_taken_for_a_picture(name, shape, dtype, layout):
    assert key(name, shape, dtype).layout == layout


def test_a_picture_keeps_its_shape():
    assert fitted(np.zeros((10, 40, 3), np.uint8), 100, 100).size == (100, 25)
    assert fitted(np.zeros((400, 2, 3), np.uint8), 100, 100).size == (1, 100)
