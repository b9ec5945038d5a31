import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridle.training.converters import ConversionError, lerobot_group
from bridle.training.converters.statistics import QUANTILES, NumberStatistics, Total
from bridle.training.converters.video import psnr
from bridle.training.demonstrations import DemonstrationWriter, KeySpec, known_key
from tests.training.converters.foreign import (
    assert_same,
    convert,
    lines,
    stored,
    write_lerobot,
    write_set,
)

DTYPES = ["bool", "int8", "int64", "uint16", "uint64", "float16", "float32", "float64"]


@st.composite
def sets(draw):
    """Keys of all shapes and dtypes, episodes of all lengths, and their numbers."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    shapes = st.lists(st.integers(1, 3), max_size=5).map(tuple)
    keys = {"action": known_key("action", (draw(st.integers(1, 3)),))}
    for i in range(draw(st.integers(0, 3))):
        keys[f"key_{i}"] = KeySpec(draw(shapes), draw(st.sampled_from(DTYPES)), "N m", "some key")
    if draw(st.booleans()):
        keys["camera_a"] = known_key("camera_a", (draw(st.integers(1, 9)), 4, 3))
    if draw(st.booleans()):
        keys["instruction_id"] = known_key("instruction_id")
    instructions = draw(st.lists(st.text("ab ü\n", min_size=1), min_size=1, max_size=3))
    episodes = []
    for length in lengths:
        rows = {
            key: draw(hnp.arrays(spec.dtype, (length, *spec.shape), elements=numbers(spec.dtype)))
            for key, spec in keys.items()
        }
        if "instruction_id" in rows:
            rows["instruction_id"] = rows["instruction_id"] % len(instructions)
        episodes.append(rows)
    return keys, instructions, episodes


def numbers(dtype):
    if np.dtype(dtype).kind == "f":
        return hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    return hnp.from_dtype(np.dtype(dtype))


@given(case=sets())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_there_and_back_is_the_same_bit_by_bit(tmp_path_factory, case):
    keys, instructions, episodes = case
    folder = tmp_path_factory.mktemp("round")
    with DemonstrationWriter.create(
        folder / "a",
        robot="r",
        task="t",
        control_rate=12.5,
        keys=keys,
        instructions=instructions,
        episode_keys={"seed": "int64"},
    ) as writer:
        for i, rows in enumerate(episodes):
            writer.append(rows, {"seed": i * 7})
    convert(folder / "a", "--out", folder / "l", "--to", "lerobot")
    convert(folder / "l", "--out", folder / "b")
    one, other = stored(folder / "a"), stored(folder / "b")
    assert_same(one, other)
    assert one.attributes.keys == other.attributes.keys
    assert one.attributes.control_rate == other.attributes.control_rate
    if "instruction_id" in keys:
        assert one.attributes.instructions == other.attributes.instructions
    np.testing.assert_array_equal(one.episode_values["seed"], other.episode_values["seed"])


def test_groups_of_episodes_share_files(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot_group, "MOST_EPISODES", 2)
    one = write_set(tmp_path / "a", lengths=(5, 1, 8, 3, 4))
    convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot")
    files = sorted(p.name for p in (tmp_path / "l/data/chunk-000").iterdir())
    assert files == ["file-000.parquet", "file-001.parquet", "file-002.parquet"]
    convert(tmp_path / "l", "--out", tmp_path / "b")
    assert_same(one, stored(tmp_path / "b"))


def test_what_version_3_demands(tmp_path):
    one = write_set(tmp_path / "a", lengths=(5, 3))
    convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot")
    info = json.loads((tmp_path / "l/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["robot_type"], info["splits"]) == (20, "ur5e", {"train": "0:2"})
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 8, 2)
    assert info["features"]["observation.state"]["shape"] == [3]
    assert info["features"]["observation.images.front"]["dtype"] == "image"
    data = pq.read_table(tmp_path / "l/data/chunk-000/file-000.parquet")
    assert data["index"].to_pylist() == list(range(8))
    assert data["frame_index"].to_pylist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert data["episode_index"].to_pylist() == [0] * 5 + [1] * 3
    times = np.float32(np.arange(5) / 20).tolist()
    assert data["timestamp"].to_pylist() == times + times[:3]
    assert data["task_index"].to_pylist() == one.arrays["instruction_id"].tolist()
    tasks = pq.read_table(tmp_path / "l/meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    assert tasks["task"].to_pylist() == ["reach", "grasp"]
    episodes = pq.read_table(tmp_path / "l/meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_from_index"].to_pylist() == [0, 5]
    assert episodes["dataset_to_index"].to_pylist() == [5, 8]
    stats = json.loads((tmp_path / "l/meta/stats.json").read_text())
    action = one.arrays["action"].astype(np.float64)
    np.testing.assert_allclose(stats["action"]["mean"], action.mean(axis=0))
    np.testing.assert_allclose(stats["action"]["std"], action.std(axis=0))
    np.testing.assert_array_equal(stats["action"]["max"], action.max(axis=0))
    assert stats["action"]["count"] == [8]
    assert np.shape(stats["observation.images.front"]["q99"]) == (3, 1, 1)
    assert set(QUANTILES) < set(stats["action"])


@given(
    st.lists(
        hnp.arrays(
            np.float64,
            st.tuples(st.integers(1, 30), st.just(2)),
            elements=st.floats(-1e3, 1e3, allow_subnormal=False),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 7),
)
@settings(max_examples=40)
def test_statistics_in_blocks_are_those_of_the_whole(episodes, block):
    total = Total()
    for rows in episodes:
        one = NumberStatistics()
        for start in range(0, len(rows), block):
            one.add(rows[start : start + block])
        found = one.result()
        np.testing.assert_allclose(found["std"], rows.std(axis=0), atol=1e-6)
        np.testing.assert_allclose(found["q90"], np.quantile(rows, 0.9, axis=0), atol=1e-9)
        total.add(found)
    rows = np.concatenate(episodes)
    found = total.result()
    np.testing.assert_allclose(found["mean"], rows.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["std"], rows.std(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found["min"], rows.min(axis=0))


@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_video_loses_little_and_no_frame(tmp_path, codec, monkeypatch):
    monkeypatch.setattr(lerobot_group, "MOST_EPISODES", 2)
    rows, columns = np.mgrid[:48, :64]
    episodes = []
    for n in (11, 1, 6, 9):
        pictures = [
            np.stack([rows * 5, columns * 3, np.full((48, 64), 20 * t + n)], -1) for t in range(n)
        ]
        episodes.append(np.array(pictures).astype(np.uint8))
    keys = {"action": known_key("action", (1,)), "camera_a": known_key("camera_a", (48, 64, 3))}
    with DemonstrationWriter.create(
        tmp_path / "a", robot="r", task="t", control_rate=29.97, keys=keys, instructions=[]
    ) as writer:
        for frames in episodes:
            writer.append({"action": np.ones((len(frames), 1), np.float32), "camera_a": frames})
    out, report = tmp_path / "l", tmp_path / "report.json"
    convert(
        tmp_path / "a",
        "--out",
        out,
        "--to",
        "lerobot",
        "--images",
        "video",
        "--codec",
        codec,
        "--json",
        report,
    )
    convert(out, "--out", tmp_path / "b")
    found = stored(tmp_path / "b").arrays["camera_a"]
    measured = [psnr(a, b) for a, b in zip(np.concatenate(episodes), found, strict=True)]
    assert min(measured) > 30
    said = json.loads(report.read_text())["psnr"]["camera_a"]
    assert said["lowest"] == pytest.approx(min(measured))
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["observation.images.a"]["info"]["video.codec"] == codec
    assert info["fps"] == 29.97


def test_odd_sizes_need_pictures(tmp_path):
    keys = {"action": known_key("action", (1,)), "camera_a": known_key("camera_a", (7, 8, 3))}
    write_set(tmp_path / "a", keys=keys, instructions=())
    with pytest.raises(ConversionError, match=r"even height and width, got 7 x 8.*--images png"):
        convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot", "--images", "video")


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_dataset_of_someone_else(tmp_path, version):
    image = np.random.default_rng(0).integers(0, 256, (25, 8, 9, 3), np.uint8)
    columns = write_lerobot(tmp_path / "l", image=image, version=version)
    convert(tmp_path / "l", "--out", tmp_path / "out")
    found = stored(tmp_path / "out")
    assert found.robot == "so100"
    assert found.attributes.control_rate == 10
    assert found.attributes.instructions == ("push", "pull")
    assert found.episode_ends.tolist() == [9, 13, 25]
    names = {
        "observation.state": "observation_state",
        "next.reward": "reward",
        "next.done": "next_done",
        "action": "action",
    }
    for name, key in names.items():
        assert found.arrays[key].dtype == columns[name].dtype
        np.testing.assert_array_equal(found.arrays[key], columns[name])
    np.testing.assert_array_equal(found.arrays["camera_top"], image)
    np.testing.assert_array_equal(found.arrays["instruction_id"], columns["task_index"])
    np.testing.assert_array_equal(found.arrays["timestamp"], columns["timestamp"])


def test_other_versions_are_left_to_lerobot(tmp_path):
    write_lerobot(tmp_path / "l")
    edit(tmp_path / "l", codebase_version="v1.6")
    with pytest.raises(ConversionError, match=r"got 'v1.6'; convert it with LeRobot's own tool"):
        convert(tmp_path / "l", "--out", tmp_path / "out")


def test_a_dataset_changed_by_others_is_taken_as_theirs(tmp_path):
    write_set(tmp_path / "a", lengths=(5, 3))
    convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot")
    ours = json.loads((tmp_path / "l/meta/bridle.json").read_text())
    ours["episodes"] = 7
    (tmp_path / "l/meta/bridle.json").write_text(json.dumps(ours))
    convert(tmp_path / "l", "--out", tmp_path / "b", "--json", tmp_path / "r.json")
    assert "another state" in (tmp_path / "r.json").read_text()
    assert "observation_state" in stored(tmp_path / "b").arrays


def edit(path, **changes):
    info = json.loads((path / "meta/info.json").read_text())
    (path / "meta/info.json").write_text(json.dumps(info | changes))


def retable(path, change, name="data/chunk-000/file-000.parquet"):
    table = pq.read_table(path / name)
    pq.write_table(change(table), path / name)


def set_column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


def escape(path):
    edit(path, data_path="../../../etc/passwd")


def escape_by_code(path):
    edit(path, data_path="data/{chunk_index.__class__}/{file_index}")


def widen(path):
    edit(path, data_path="data/{chunk_index:999999999d}-{file_index}")


def link(path):
    (path.parent / "elsewhere").write_bytes(b"x")
    file = path / "data/chunk-000/file-001.parquet"
    file.unlink()
    file.symlink_to(path.parent / "elsewhere")


def break_table(path):
    file = path / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:300])


def rot_table(path):
    file = path / "data/chunk-000/file-000.parquet"
    data = bytearray(file.read_bytes())
    data[4:300] = bytes(296)
    file.write_bytes(bytes(data))


def nan(path):
    def change(table):
        values = np.array(table["action"].to_pylist(), np.float32)
        values[3, 1] = np.nan
        flat = pa.array(values.ravel())
        return set_column(table, "action", pa.FixedSizeListArray.from_arrays(flat, 6))

    retable(path, change)


def null(path):
    def change(table):
        values = table["next.reward"].to_pylist()
        values[4] = None
        return set_column(table, "next.reward", pa.array(values, pa.float32()))

    retable(path, change)


def uneven(path):
    def change(table):
        values = table["action"].to_pylist()
        values[2] = [1.0]
        return set_column(table, "action", pa.array(values, pa.list_(pa.float32())))

    retable(path, change)


def misnumber(path):
    def change(table):
        return set_column(table, "frame_index", pa.array([7] * len(table)))

    retable(path, change)


def lengthen(path):
    retable(
        path,
        lambda t: set_column(
            set_column(t, "length", pa.array([9, 4, 500])),
            "dataset_to_index",
            pa.array([9, 13, 513]),
        ),
        "meta/episodes/chunk-000/file-000.parquet",
    )


def lose_column(path):
    retable(path, lambda table: table.drop_columns(["action"]))


def garble(path):
    (path / "meta/info.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (escape, "leads out of the dataset"),
        (escape_by_code, "must fill in plain numbers"),
        (widen, "must fill in plain numbers"),
        (link, "leads out of the dataset"),
        (break_table, "is not a readable table"),
        (rot_table, "file-000.parquet"),
        (nan, "data/action, episode 0, row 3: expected finite numbers"),
        (null, "next.reward, row 4: a value is missing"),
        (uneven, "action, row 2: expected 6 values, got 1"),
        (misnumber, "row 0: expected frame 0 of episode 0, got frame 7"),
        (lengthen, "ends after 12 rows, and row 12 is needed"),
        (lose_column, "the column action is missing"),
        (garble, "is not readable JSON"),
    ],
)
def test_damage_is_one_clear_line(tmp_path, spoil, says):
    write_lerobot(tmp_path / "l")
    spoil(tmp_path / "l")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=says) as error:
        convert(tmp_path / "l", "--out", tmp_path / "new/out")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    new = set(tmp_path.rglob("*")) - set(before)
    assert all(path.is_relative_to(tmp_path / "new") for path in new)


def test_a_video_shorter_than_its_table(tmp_path):
    keys = {"action": known_key("action", (1,)), "camera_a": known_key("camera_a", (16, 16, 3))}
    for name, lengths in (("long", (8, 9)), ("short", (8, 5))):
        write_set(tmp_path / name, lengths, keys=keys, instructions=())
        convert(
            tmp_path / name, "--out", tmp_path / f"{name}-l", "--to", "lerobot", "--images", "video"
        )
    video = "videos/observation.images.a/chunk-000/file-000.mp4"
    (tmp_path / "short-l" / video).replace(tmp_path / "long-l" / video)
    says = r"^episode 1: videos/observation.images.a/chunk-000/file-000.mp4 is shorter than the "
    with pytest.raises(ValueError, match=says + r"tables say: it ends at 0.600 s.* at 0.650 s"):
        convert(tmp_path / "long-l", "--out", tmp_path / "out")
    assert stored_episodes(tmp_path / "out") == 1
    convert(tmp_path / "long-l", "--out", tmp_path / "skip", "--skip-bad")
    assert stored_episodes(tmp_path / "skip") == 1


def stored_episodes(path):
    return stored(path).n_episodes


def test_a_video_that_is_none(tmp_path):
    keys = {"action": known_key("action", (1,)), "camera_a": known_key("camera_a", (16, 16, 3))}
    write_set(tmp_path / "a", keys=keys, instructions=())
    convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot", "--images", "video")
    (tmp_path / "l/videos/observation.images.a/chunk-000/file-000.mp4").write_text(
        "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"
    )
    with pytest.raises(ValueError, match="is not a readable video"):
        convert(tmp_path / "l", "--out", tmp_path / "out")


def test_the_hub_cache_is_made_of_links(tmp_path):
    """<dataset>/snapshots/<revision>/... links to <dataset>/blobs/<hash>."""
    write_lerobot(tmp_path / "l")
    blobs, snapshot = tmp_path / "d/blobs", tmp_path / "d/snapshots/abc"
    blobs.mkdir(parents=True)
    for i, file in enumerate(sorted(p for p in (tmp_path / "l").rglob("*") if p.is_file())):
        place = snapshot / file.relative_to(tmp_path / "l")
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(blobs / str(i))
        place.symlink_to(blobs / str(i))
    convert(snapshot, "--out", tmp_path / "out")
    assert stored_episodes(tmp_path / "out") == 3


def test_tasks_must_be_numbered(tmp_path):
    write_lerobot(tmp_path / "l", version="v2.1")
    lines(tmp_path / "l/meta/tasks.jsonl", [{"task_index": 5, "task": "push"}])
    with pytest.raises(ConversionError, match="sentences numbered from 0"):
        convert(tmp_path / "l", "--out", tmp_path / "out")


def test_nothing_else_is_overwritten(tmp_path):
    write_set(tmp_path / "a")
    (tmp_path / "l").mkdir()
    (tmp_path / "l/thesis.tex").write_text("x")
    with pytest.raises(ConversionError, match="exists; choose another --out"):
        convert(tmp_path / "a", "--out", tmp_path / "l", "--to", "lerobot")
    assert (tmp_path / "l/thesis.tex").read_text() == "x"
    write_lerobot(tmp_path / "theirs")
    with pytest.raises(ConversionError, match="exists; choose another --out"):
        convert(tmp_path / "a", "--out", tmp_path / "theirs", "--to", "lerobot")
