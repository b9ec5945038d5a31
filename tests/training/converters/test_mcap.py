import json
from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.training.converters import ConversionError
from bridle.training.converters.alignment import Aligner, Row, Stream
from bridle.training.converters.source import Gap
from tests.training.converters.foreign import (
    SECOND,
    BagWriter,
    convert,
    png,
    position,
    stored,
    truncate,
    write_bag,
    write_topics,
)

ORDER = [1, 0, 2]
"""Of the topic map's names in the bag."""


def report(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("directory", [False, True])
def test_known_signals_come_back_at_the_rate(tmp_path, directory):
    """What jitter and holding may cost: a message of age max_age, at the signal's largest slope."""
    bag = write_bag(tmp_path / ("bag" if directory else "run.mcap"), directory=directory)
    convert(bag, "--out", tmp_path / "out", "--topics", write_topics(tmp_path / "t.yaml"))
    found = stored(tmp_path / "out")
    assert found.n_episodes == 1
    assert found.attributes.instructions == ("pick it up",)
    time = found.arrays["timestamp"]
    np.testing.assert_allclose(np.diff(time), 1 / 20)
    # The third joint is the time of the message.
    stamps = found.arrays["joint_position"][:, 2]
    begin = stamps[0]
    ages = begin + time - stamps
    assert np.all(np.abs(ages) < 2.5 / 50 + 1e-3)
    expected = np.array([position(stamp)[ORDER] for stamp in stamps.astype(np.float64)])
    np.testing.assert_allclose(found.arrays["joint_position"], expected, atol=2e-5)
    commands = found.arrays["action"][:, 2]
    assert np.all(np.abs(begin + time - commands) < 2.5 / 25)
    pictures = found.arrays["camera_front"][:, 0, 0, 0] / 80
    assert np.all(np.abs(begin - 100 + time - pictures) < 2.5 / 10)


def test_positions_can_be_interpolated(tmp_path):
    bag = write_bag(tmp_path / "run.mcap", camera=False)
    text = """
rate: 20
keys:
  joint_position: {{topic: /joint_states, field: position, interpolate: true, max_age: {max_age}}}
  action: {{topic: /commands, field: data}}
"""
    convert(bag, "--out", tmp_path / "out", "--topics", write_topics(tmp_path / "t.yaml", text))
    found = stored(tmp_path / "out")
    joints = found.arrays["joint_position"].astype(np.float64)
    begin = joints[0, 2] - found.arrays["timestamp"][0]
    # Between messages 20 ms apart a sine is a line up to 0.02^2/8.
    np.testing.assert_allclose(joints[:, 2], begin + found.arrays["timestamp"], atol=1e-4)
    np.testing.assert_allclose(joints[:, 0], np.sin(joints[:, 2]), atol=1e-3)


def test_a_gap_splits_and_is_reported(tmp_path):
    bag = write_bag(tmp_path / "run.mcap", hole=(1.0, 1.6))
    topics = write_topics(tmp_path / "t.yaml")
    convert(bag, "--out", tmp_path / "out", "--topics", topics, "--json", tmp_path / "r.json")
    found = stored(tmp_path / "out")
    assert found.n_episodes == 2
    (gap,) = report(tmp_path / "r.json")["gaps"]
    assert (gap["recording"], gap["topic"]) == ("run.mcap", "/joint_states")
    assert gap["start"] == pytest.approx(1.0, abs=0.05)
    assert gap["end"] == pytest.approx(1.6, abs=0.1)
    first, second = found.episode(0), found.episode(1)
    assert first["timestamp"][0] == second["timestamp"][0] == 0
    # Rows end when the last message is older than 0.25 s and begin with the first new one.
    assert first["joint_position"][-1, 2] - 100 == pytest.approx(1.0, abs=0.05)
    assert second["joint_position"][0, 2] - 100 == pytest.approx(1.6, abs=0.1)


def test_or_a_gap_spoils_the_episode(tmp_path):
    bag = write_bag(tmp_path / "run.mcap", hole=(1.0, 1.6))
    topics = write_topics(tmp_path / "t.yaml")
    topics.write_text(topics.read_text() + "gaps: refuse\n")
    says = "no fresh message of /joint_states from .* s to .* s; --skip-bad"
    with pytest.raises(ValueError, match=says):
        convert(bag, "--out", tmp_path / "out", "--topics", topics)


def test_several_bags_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "bags"
    folder.mkdir()
    for name, seconds in (("run_10", 1.0), ("run_9", 1.5), ("run_2", 2.0)):
        write_bag(folder / f"{name}.mcap", seconds, camera=False)
    text = "rate: 10\nkeys: {{action: {{topic: /commands, field: data}}}}\n"
    topics = write_topics(tmp_path / "t.yaml", text)
    convert(folder, "--out", tmp_path / "out", "--topics", topics)
    found = stored(tmp_path / "out")
    assert np.diff(found.episode_ends, prepend=0).tolist() == [20, 15, 10]
    assert found.episode_values["bag"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("how", ["words", "flag", "every message"])
def test_episodes_by_topic(tmp_path, how):
    bag = BagWriter(tmp_path / "run.mcap")
    for i in range(400):
        time = 100 + i / 100
        bag.command(time, [i, 0])
        if i % 100 == 50:
            if how == "words":
                bag.text("/event", time, ["begin", "end", "begin", "oops"][i // 100])
            elif how == "flag":
                bag.flag("/event", time, i // 100 % 2 == 0)
            else:
                bag.text("/event", time, "next")
    bag.close()
    rule = {
        "words": "{by: topic, topic: /event, start: begin, stop: end, discard: oops}",
        "flag": "{by: topic, topic: /event, start: true, stop: false}",
        "every message": "{by: topic, topic: /event}",
    }[how]
    (tmp_path / "t.yaml").write_text(
        f"rate: 10\nkeys: {{action: {{topic: /commands, field: data}}}}\nepisodes: {rule}\n"
    )
    convert(
        tmp_path / "run.mcap",
        "--out",
        tmp_path / "out",
        "--topics",
        tmp_path / "t.yaml",
        "--json",
        tmp_path / "r.json",
    )
    found = stored(tmp_path / "out")
    firsts = [int(found.episode(i)["action"][0, 0]) for i in range(found.n_episodes)]
    lengths = np.diff(found.episode_ends, prepend=0).tolist()
    skipped = [s["reason"] for s in report(tmp_path / "r.json")["skipped"]]
    if how == "words":
        assert (firsts, lengths, skipped) == ([50], [10], ["discarded while it was recorded"])
    elif how == "flag":
        assert (firsts, lengths, skipped) == ([50, 250], [10, 10], [])
    else:
        assert (firsts, lengths, skipped) == ([50, 150, 250, 350], [10, 10, 10, 5], [])


def test_trajectories_give_their_first_point_by_name(tmp_path):
    bag = BagWriter(tmp_path / "run.mcap")
    for i in range(50):
        names = ["wrist", "elbow", "shoulder"] if i % 2 else ["elbow", "shoulder", "wrist"]
        values = dict(zip(["elbow", "shoulder", "wrist"], (i, i + 0.25, i + 0.5), strict=True))
        bag.trajectory(100 + i / 50, [values[name] for name in names], names)
    bag.close()
    (tmp_path / "t.yaml").write_text(
        "rate: 50\nkeys:\n  action: {topic: /trajectory, field: 'points[0].positions', "
        "names: [shoulder, wrist]}\n"
    )
    convert(tmp_path / "run.mcap", "--out", tmp_path / "out", "--topics", tmp_path / "t.yaml")
    actions = stored(tmp_path / "out").arrays["action"]
    expected = np.arange(50)[:, None] + np.array([0.25, 0.5])
    np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "mono8", "padded", "png"])
def test_images_in_every_encoding(tmp_path, encoding):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10, 8, 9, 3), np.uint8)
    if encoding == "mono8":
        images = np.repeat(images[..., :1], 3, axis=3)
    bag = BagWriter(tmp_path / "run.mcap")
    for i, image in enumerate(images):
        time = 100 + i / 10
        bag.command(time, [i])
        if encoding == "png":
            bag.compressed(time, time, png(image))
        elif encoding == "bgr8":
            bag.image(time, time, image[..., ::-1], "bgr8")
        elif encoding == "mono8":
            bag.image(time, time, image[..., 0], "mono8")
        elif encoding == "rgba8":
            bag.image(time, time, np.concatenate([image, image[..., :1]], 2), "rgba8")
        elif encoding == "padded":
            rows = np.zeros((8, 40), np.uint8)
            rows[:, :27] = image.reshape(8, 27)
            bag.image(time, time, image, "rgb8", step=40, data=rows.tobytes())
        else:
            bag.image(time, time, image)
    bag.close()
    topic = "/camera/compressed" if encoding == "png" else "/camera"
    (tmp_path / "t.yaml").write_text(
        f"rate: 10\nkeys: {{action: {{topic: /commands, field: data}}, "
        f"camera_a: {{topic: {topic}}}}}\n"
    )
    convert(tmp_path / "run.mcap", "--out", tmp_path / "out", "--topics", tmp_path / "t.yaml")
    np.testing.assert_array_equal(stored(tmp_path / "out").arrays["camera_a"], images)


def test_poses_wrenches_and_depth(tmp_path):
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    bag = BagWriter(tmp_path / "run.mcap")
    turns = Rotation.random(10, random_state=0)
    depths = rng.integers(0, 5000, (10, 8, 9)).astype(np.uint16)
    for i in range(10):
        time = 100 + i / 10
        bag.command(time, [i])
        bag.pose(time, (i, 2, 3), turns[i].as_quat())
        bag.wrench(time, (1, 2, i), (4, 5, 6))
        bag.image(time, time, depths[i], "16UC1")
    bag.close()
    (tmp_path / "t.yaml").write_text("""
rate: 10
keys:
  action: {topic: /commands, field: data}
  tcp_pose: {topic: /tcp_pose, field: pose}
  flange: {topic: /tcp_pose, field: pose}
  force: {topic: /wrench, field: [wrench.force, wrench.torque], unit: "N, N m"}
  depth_a: {topic: /camera}
""")
    convert(tmp_path / "run.mcap", "--out", tmp_path / "out", "--topics", tmp_path / "t.yaml")
    found = stored(tmp_path / "out")
    pose = found.arrays["tcp_pose"]
    assert pose[:, 0].tolist() == list(range(10))
    matrices = turns.as_matrix()
    np.testing.assert_allclose(pose[:, 3:6], matrices[:, :, 0], atol=1e-6)
    np.testing.assert_allclose(pose[:, 6:9], matrices[:, :, 1], atol=1e-6)
    np.testing.assert_array_equal(found.arrays["flange"][:, 3:], turns.as_quat())
    assert found.arrays["force"][7].tolist() == [1, 2, 7, 4, 5, 6]
    assert found.attributes.keys["force"].unit == "N, N m"
    np.testing.assert_allclose(found.arrays["depth_a"], depths / 1000, rtol=1e-6)
    assert found.attributes.keys["depth_a"].unit == "m"


def bad_names(bag, time):
    bag.joints(time, time, ["elbow", "shoulder", "hand"])


def few_values(bag, time):
    bag.joints(time, time, values=[1.0, 2.0])


def no_names(bag, time):
    bag.joints(time, time, names=[" "][:0] or [], values=[])


def short_image(bag, time):
    bag.image(time, time, np.zeros((8, 9, 3), np.uint8), data=b"\0" * 10)


def vast_image(bag, time):
    bag.image(time, time, np.zeros((8, 9, 3), np.uint8), step=2**31)


def other_size(bag, time):
    bag.image(time, time, np.zeros((9, 9, 3), np.uint8))


def not_a_number(bag, time):
    bag.joints(time, time, values=[np.nan, 0, 0])


def clock_jumps(bag, time):
    bag.joints(time + 10**6, time)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (bad_names, r"/joint_states at 1.000 s: joint 'wrist' is missing; it names elbow, "),
        (few_values, r"position has 2 numbers for 3 names elbow, shoulder, wrist"),
        (short_image, r"/camera at 1.000 s: the image says 8 rows of 27 bytes .*got 10 bytes"),
        (vast_image, r"the image says 8 rows of 2147483648 bytes"),
        (other_size, r"expected \(8, 9, 3\) as in the first message, got \(9, 9, 3\)"),
        (not_a_number, "data/joint_position, episode 0, row 20: expected finite numbers"),
        (clock_jumps, r"/joint_states: the stamp jumps by 1000000.0 s.*`stamps: log`"),
    ],
)
def test_wrong_messages_are_one_clear_line(tmp_path, spoil, says):
    bag = BagWriter(tmp_path / "run.mcap")
    bag.text("/instruction", 100, "go")
    for i in range(40):
        time = 100 + i / 20
        bag.command(time, [i, 0, 0])
        if i != 20:
            bag.joints(time, time)
            bag.image(time, time, np.zeros((8, 9, 3), np.uint8))
        else:
            spoil(bag, time)
    bag.close()
    arguments = (tmp_path / "run.mcap", "--topics", write_topics(tmp_path / "t.yaml"))
    with pytest.raises(ValueError, match=says) as error:
        convert(*arguments, "--out", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_what_the_bag_lacks_is_said_with_what_it_has(tmp_path):
    bag = write_bag(tmp_path / "run.mcap", camera=False)
    topics = write_topics(tmp_path / "t.yaml")
    says = "run.mcap has no topic /camera; it has /commands, /instruction, /joint_states"
    with pytest.raises(ConversionError, match=says):
        convert(bag, "--out", tmp_path / "out", "--topics", topics)
    text = "rate: 10\nkeys: {{action: {{topic: /commands, field: daten.x}}}}\n"
    with pytest.raises(ValueError, match=r"no field 'daten' in daten.x; there is layout, data"):
        convert(bag, "--out", tmp_path / "o", "--topics", write_topics(tmp_path / "u.yaml", text))
    with pytest.raises(ConversionError, match="--topics FILE"):
        convert(bag, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: [", "not readable YAML"),
        ("[1]", "expected a topic map, got list"),
        ("keys: {}\nrate: 10", "name at least one topic"),
        ("keys: {action: {topic: /a, field: data}}\nrate: -1", "rate must lie in"),
        ("keys: {action: {topic: /a, field: data}}\nrate: ten", "expected a number, got 'ten'"),
        ("keys: {action: {topic: /a, field: data}}\nrate: 1\nspeed: 2", "speed"),
        ("keys: {action: {topic: /a}}\nrate: 1", "name the field of /a"),
        ("keys: {action: {topic: /a, field: 'x.__class__()'}}\nrate: 1", "expected a path"),
        ("keys: {camera_a: {topic: /a, interpolate: true}}\nrate: 1", "only numbers"),
        ("keys: {action: {topic: /a, field: d}}\nrate: 1\nepisodes: {by: topic}", "go together"),
    ],
)
def test_topic_maps_that_make_no_sense(tmp_path, text, says):
    bag = write_bag(tmp_path / "run.mcap", 0.2, camera=False)
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ConversionError, match=says):
        convert(bag, "--out", tmp_path / "out", "--topics", tmp_path / "t.yaml")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.95])
def test_a_bag_that_was_cut_off(tmp_path, part):
    bag = write_bag(tmp_path / "run.mcap", camera=False)
    truncate(bag, part)
    with pytest.raises(ConversionError, match=r"mcap recover|of no format"):
        convert(bag, "--out", tmp_path / "out", "--topics", write_topics(tmp_path / "t.yaml"))


def test_rotten_bytes_are_one_clear_line(tmp_path):
    topics = write_topics(tmp_path / "t.yaml")
    rng = np.random.default_rng(0)
    for i in range(15):
        bag = write_bag(tmp_path / f"run{i}.mcap", 1.0)
        data = bytearray(bag.read_bytes())
        for place in rng.integers(8, len(data), 60):
            data[place] ^= int(rng.integers(1, 256))
        bag.write_bytes(bytes(data))
        try:
            convert(bag, "--out", tmp_path / f"out{i}", "--topics", topics)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_clocks_without_a_common_time(tmp_path):
    bag = BagWriter(tmp_path / "run.mcap")
    for i in range(20):
        bag.joints(i / 20, 1000 + i / 20)
        bag.command(1000 + i / 20, [i])
    bag.close()
    text = """
rate: 20
keys:
  joint_position: {topic: /joint_states, field: position}
  action: {topic: /commands, field: data}
"""
    (tmp_path / "t.yaml").write_text(text)
    arguments = (tmp_path / "run.mcap", "--topics", tmp_path / "t.yaml", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match=r"at no time.*\(header\).*\(recording\).*`stamps: log`"):
        convert(*arguments)
    (tmp_path / "t.yaml").write_text(f"{text}stamps: log\n")
    arguments = (*arguments[:-1], tmp_path / "other")
    convert(*arguments)
    assert stored(tmp_path / "other").n_steps == 20


# The aligner against its definition.


@st.composite
def recordings(draw):
    """Two topics with any stamps, and when they arrive."""
    streams = {}
    for key in ("a", "b"):
        steps = draw(st.lists(st.integers(1, 400), min_size=1, max_size=25))
        stamps = np.cumsum(steps) + draw(st.integers(0, 200))
        delays = draw(st.lists(st.integers(0, 30), min_size=len(stamps), max_size=len(stamps)))
        streams[key] = [(int(s), int(s) + d) for s, d in zip(stamps, delays, strict=True)]
    ages = {key: draw(st.integers(50, 300)) for key in streams}
    return streams, ages


@given(recordings())
@settings(max_examples=150)
def test_rows_are_those_of_the_definition(case):
    """At every step: the last message of each topic, if it is not older than its age [ms]."""
    recorded, ages = case
    unit = SECOND // 1000
    streams = {key: Stream(key, f"/{key}", ages[key] * unit, samples=deque()) for key in recorded}
    messages = sorted(
        ((key, stamp, log) for key, rows in recorded.items() for stamp, log in rows),
        key=lambda m: m[2],
    )
    # Within one topic messages come in order.
    kept, newest = [], {}
    for key, stamp, log in messages:
        if stamp > newest.get(key, -1):
            newest[key] = stamp
            kept.append((key, stamp, log))
    aligner = Aligner("bag", streams, 20.0, 100 * unit)
    items = list(aligner.run((k, s * unit, log * unit, s) for k, s, log in kept))
    found = {
        round((row.time) / unit): {key: samples[0].message for key, samples in row.samples.items()}
        for row in items
        if isinstance(row, Row)
    }
    begin = max(min(s for k, s, _ in kept if k == key) for key in recorded)
    end = max(newest.values())
    expected = {}
    for time in range(begin, end + 1, 50):
        last = {
            key: max((s for k, s, _ in kept if k == key and s <= time), default=None)
            for key in recorded
        }
        if all(last[key] is not None and time - last[key] <= ages[key] for key in recorded):
            expected[time] = last
    assert found == expected
    steps = [row.step for row in items if isinstance(row, Row)]
    breaks = sum(b != a + 1 for a, b in pairwise(steps))
    assert sum(isinstance(item, Gap) for item in items) >= breaks
