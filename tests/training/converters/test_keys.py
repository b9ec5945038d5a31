import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridle.training.converters.keys import KeyMap, camera_key, identifier, is_image
from bridle.training.converters.source import Column, ConversionError, Rule
from bridle.training.demonstrations import DemonstrationError


def column(values, key=""):
    return Column(values.shape[1:], values.dtype.name, key)


def converted(values, key, extra=None, **options):
    """One column under a key, beside an action."""
    arrays = {"x": values, "a": np.ones((len(values), 2), np.float32), **(extra or {})}
    columns = {
        name: column(rows, name if name != "a" else "action") for name, rows in arrays.items()
    }
    rules = [Rule.parse(f"x={key}")]
    keys = KeyMap(columns, rules, lambda name: arrays[name], **options)
    (block,) = keys.convert(iter([arrays]))
    return keys.specs[key], block[key]


@given(
    hnp.arrays(np.uint8, st.tuples(st.just(2), st.integers(8, 12), st.integers(8, 12), st.just(3))),
    st.sampled_from(["float32", "float64", "float16"]),
    st.sampled_from([1.0, 255.0]),
    st.booleans(),
)
@settings(max_examples=60)
def test_images_come_back_exactly_whatever_their_layout(image, dtype, scale, first):
    image[0, 0, 0] = 255
    if scale == 255 and dtype == "float16":
        return  # 1/255 is not resolved by 11 bits in a way that all programs agree on
    foreign = (image / scale).astype(dtype)
    foreign = np.moveaxis(foreign, -1, 1) if first else foreign
    assert is_image(foreign.shape[1:], dtype)
    spec, found = converted(foreign, "camera_x")
    assert (spec.dtype, spec.shape) == ("uint8", image.shape[1:])
    np.testing.assert_array_equal(found, image)


def test_images_that_are_not_bytes_are_refused_with_row_and_value():
    image = np.zeros((3, 8, 8, 3), np.float32)
    image[0] = 200
    image[2, 4, 4, 1] = 17.5
    with pytest.raises(DemonstrationError, match=r"x, row 2: the image holds 17.5.*no camera"):
        converted(image, "camera_x")
    _, carried = converted(image, "raw")
    np.testing.assert_array_equal(carried, image)


def test_columns_join_side_by_side():
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.arange(3, dtype=np.float64)
    keys = KeyMap({"x": column(x), "y": column(y)}, [Rule.parse("y+x=action:m")], lambda name: x)
    (block,) = keys.convert(iter([{"x": x, "y": y}]))
    assert block["action"].dtype == np.float32
    assert block["action"].tolist() == [[0, 0, 1], [1, 2, 3], [2, 4, 5]]
    assert keys.specs["action"].unit == "m"


def test_known_keys_take_their_dtype_and_say_their_unit_only_if_asked_for():
    spec, found = converted(np.ones((2, 6)), "joint_position")
    assert (spec.dtype, spec.unit, found.dtype) == ("float32", "rad", np.float32)
    columns = {"action": Column((2,), "float64", "action")}
    keys = KeyMap(columns, [], lambda name: np.empty(0))
    assert keys.specs["action"].unit == "unknown"


@pytest.mark.parametrize("values", [np.ones((2, 1)), np.ones(2)])
def test_numbers_may_be_lists_of_one(values):
    spec, found = converted(values, "reward")
    assert spec.shape == ()
    assert found.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        (np.array([0, 2**40]), "instruction_id", r"row 1: 1099511627776 does not fit into int32"),
        (np.array([0, 2]), "intervention", "row 1: 2 does not fit into bool"),
        (np.array([0.5, 1]), "instruction_id", "holds int32, got float64"),
        (np.ones((2, 3, 3)), "joint_position", r"is \(n\) per step, got \(3, 3\)"),
        (np.ones((2, 7)), "tcp_pose", r"is \(9\) per step, got \(7,\)"),
        (np.ones((2, 5, 3)), "point_cloud", r"is \(n, 6\) per step, got \(5, 3\)"),
        (np.ones((2, 3, 3)), "camera_x", r"RGB images \(H, W, 3\)"),
    ],
)
def test_what_cannot_be_exact_is_refused(values, key, says):
    with pytest.raises(DemonstrationError, match=says):
        converted(values, key)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (["nothing"], "expected SOURCE=KEY"),
        (["x=1bad"], "identifier"),
        (["y=action"], "there is no y; there are a, x"),
        (["x=action", "a=action"], "x and a|a and x"),
        (["a="], "nothing becomes `action`"),
    ],
)
def test_rules_that_cannot_be_followed(rules, says):
    columns = {"x": Column((1,), "float32", "x"), "a": Column((1,), "float32", "action")}
    with pytest.raises(ConversionError, match=says):
        KeyMap(columns, [Rule.parse(rule) for rule in rules], lambda name: np.empty(0))


def test_an_instruction_for_all():
    columns = {"action": Column((1,), "float32", "action")}
    keys = KeyMap(columns, [], lambda name: np.empty(0), instruction="push it")
    (block,) = keys.convert(iter([{"action": np.ones((3, 1), np.float32)}]))
    assert block["instruction_id"].tolist() == [0, 0, 0]
    assert keys.instructions == ("push it",)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("img", "camera_img"),
        ("camera0_rgb", "camera_0"),
        ("camera_1", "camera_1"),
        ("agentview_image", "camera_agentview"),
        ("robot0_eye_in_hand_image", "camera_robot0_eye_in_hand"),
        ("observation.images.top", "camera_observation_images_top"),
    ],
)
def test_names_of_cameras(name, key):
    assert camera_key(name) == key


def test_names_become_identifiers():
    assert identifier("observation.state") == "observation_state"
    assert identifier("2nd") == "_2nd"
