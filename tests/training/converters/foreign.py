"""Small data sets of every format, written with the formats' own libraries."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from bridle.commands.data.convert import main
from bridle.training.demonstrations import DemonstrationWriter, known_key, load


def convert(*arguments):
    """Run the command on paths and options."""
    return main([str(argument) for argument in arguments])


def stored(path):
    return load(path)


# zarr


def write_zarr(path, arrays, ends, chunk=7, **options):
    """A store of format 2 as diffusion_policy lays it out."""
    group = zarr.create_group(path, zarr_format=2)
    for name, values in {f"data/{k}": v for k, v in arrays.items()}.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=(min(chunk, len(values)), *values.shape[1:]),
            dtype=values.dtype,
            **options,
        )
        array[...] = values
    ends = np.asarray(ends, np.int64)
    array = group.create_array("meta/episode_ends", shape=ends.shape, chunks=(3,), dtype="int64")
    array[...] = ends
    return path


def write_pushed(path, lengths=(20, 1, 30), seed=0, **options):
    rng = np.random.default_rng(seed)
    steps = sum(lengths)
    arrays = {
        "action": rng.random((steps, 2), np.float32),
        "state": rng.random((steps, 5), np.float32),
        "img": rng.integers(0, 256, (steps, 12, 10, 3)).astype(np.float32),
    }
    write_zarr(path, arrays, np.cumsum(lengths), **options)
    return arrays


# robomimic


def write_robomimic(path, demos=12, seed=0, image=True):
    rng = np.random.default_rng(seed)
    environment = {
        "env_name": "NutAssembly",
        "type": 1,
        "env_kwargs": {"robots": ["Panda"], "control_freq": 20},
    }
    expected = []
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(environment)
        data.attrs["total"] = 0
        for i in range(demos):
            length = 3 + i
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = "<mujoco/>"
            rows = {
                "actions": rng.normal(size=(length, 7)),
                "rewards": rng.normal(size=length),
                "dones": np.arange(length) == length - 1,
                "states": rng.normal(size=(length, 11)),
                "obs/robot0_joint_pos": rng.normal(size=(length, 7)),
                "obs/robot0_eef_pos": rng.normal(size=(length, 3)),
                "obs/object": rng.normal(size=(length, 4)),
                "next_obs/object": rng.normal(size=(length, 4)),
            }
            rows["dones"] = rows["dones"].astype(np.int64)
            if image:
                rows["obs/agentview_image"] = rng.integers(0, 256, (length, 9, 8, 3), np.uint8)
            for name, values in rows.items():
                demo.create_dataset(name, data=values, compression="gzip", chunks=True)
            expected.append(rows)
        file.create_group("mask")
        file["mask/train"] = np.array([b"demo_0", b"demo_10", b"demo_2"])
    return expected


# LeRobot


def write_lerobot(path, lengths=(9, 4, 12), seed=0, image=None, version="v3.0"):
    """A dataset as someone else writes it; two data files, tasks by name."""
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    columns = {
        "observation.state": rng.random((rows, 6), np.float32),
        "action": rng.random((rows, 6), np.float32),
        "next.reward": rng.random(rows).astype(np.float32),
        "next.done": rng.random(rows) > 0.5,
    }
    frames = np.concatenate([np.arange(n) for n in lengths])
    episode = np.repeat(np.arange(len(lengths)), lengths)
    own = {
        "timestamp": (frames / 10).astype(np.float32),
        "frame_index": frames,
        "episode_index": episode,
        "index": np.arange(rows),
        "task_index": episode % 2,
    }
    features = {
        name: {"dtype": v.dtype.name, "shape": list(v.shape[1:]) or [1], "names": None}
        for name, v in {**columns, **own}.items()
    }
    if image is not None:
        features["observation.images.top"] = {
            "dtype": "image",
            "shape": list(image.shape[1:]),
            "names": ["height", "width", "channels"],
        }
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(lengths),
        "total_frames": rows,
        "fps": 10,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
    }
    every = {name: as_list(v) for name, v in {**columns, **own}.items()}
    if image is not None:
        every["observation.images.top"] = pa.array(
            [{"bytes": png(frame), "path": None} for frame in image],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    table = pa.table(every)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if version == "v3.0":
        split = starts[2]
        for number, part in enumerate([table.slice(0, split), table.slice(split)]):
            file = path / f"data/chunk-000/file-{number:03d}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, file, row_group_size=5)
        episodes = pa.table(
            {
                "episode_index": np.arange(len(lengths)),
                "tasks": [["push"]] * len(lengths),
                "length": np.array(lengths),
                "data/chunk_index": np.zeros(len(lengths), np.int64),
                "data/file_index": (np.arange(len(lengths)) >= 2).astype(np.int64),
                "dataset_from_index": starts[:-1],
                "dataset_to_index": starts[1:],
            }
        )
        file = path / "meta/episodes/chunk-000/file-000.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(episodes, file)
        tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["push", "pull"]})
        pq.write_table(tasks, path / "meta/tasks.parquet")
    else:
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        info["chunks_size"] = 2
        (path / "meta").mkdir(parents=True)
        for i, n in enumerate(lengths):
            file = path / info["data_path"].format(episode_chunk=i // 2, episode_index=i)
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(starts[i], n), file)
        lines(
            path / "meta/episodes.jsonl",
            [{"episode_index": i, "length": n, "tasks": ["push"]} for i, n in enumerate(lengths)],
        )
        lines(
            path / "meta/tasks.jsonl",
            [{"task_index": 0, "task": "push"}, {"task_index": 1, "task": "pull"}],
        )
    (path / "meta/info.json").write_text(json.dumps(info))
    return {**columns, **own}


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_list(values):
    flat = pa.array(values.ravel())
    for size in reversed(values.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def png(frame):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


# Bridle


def write_set(path, lengths=(5, 1, 8), seed=0, keys=None, instructions=("reach", "grasp")):
    rng = np.random.default_rng(seed)
    keys = keys or {
        "action": known_key("action", (4,)),
        "joint_position": known_key("joint_position", (3,)),
        "camera_front": known_key("camera_front", (8, 10, 3)),
        "instruction_id": known_key("instruction_id"),
        "intervention": known_key("intervention"),
        "timestamp": known_key("timestamp"),
    }
    with DemonstrationWriter.create(
        path,
        robot="ur5e",
        task="pick",
        control_rate=20,
        keys=keys,
        instructions=list(instructions),
        source={"seed": seed},
        episode_keys={"seed": "int64", "score": "float64"},
    ) as writer:
        for i, length in enumerate(lengths):
            rows = {
                key: (200 * rng.random((length, *spec.shape))).astype(spec.dtype)
                for key, spec in keys.items()
            }
            if "instruction_id" in rows:
                rows["instruction_id"] %= max(1, len(instructions))
            if "timestamp" in rows:
                rows["timestamp"] = np.cumsum(0.05 + rng.random(length) / 100)
            writer.append(rows, {"seed": 100 + i, "score": rng.random()})
    return load(path)


def assert_same(one, other, keys=None):
    """Equal arrays, bit for bit, and equal episodes."""
    np.testing.assert_array_equal(one.episode_ends, other.episode_ends)
    for key in keys or one.arrays:
        assert one.arrays[key].dtype == other.arrays[key].dtype, key
        assert one.arrays[key].tobytes() == other.arrays[key].tobytes(), key


# MCAP

SECOND = 1_000_000_000
JOINTS = ["elbow", "shoulder", "wrist"]


def position(time):
    """Joint positions (3,) in the order of JOINTS."""
    return np.array([np.sin(time), np.cos(time), time])


class BagWriter:
    """A bare .mcap, uncompressed or zstd, through rosbags' own writer."""

    def __init__(self, path, directory=False):
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self.store = get_typestore(Stores.ROS2_JAZZY)
        self.target, self.directory = Path(path), directory
        self.folder = self.target if directory else self.target.with_suffix(".bag")
        self.writer = Writer(self.folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        self.connections = {}

    def add(self, topic, kind, log, message):
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=self.store)
        raw = self.store.serialize_cdr(message, kind)
        self.writer.write(self.connections[topic], round(log * SECOND), raw)

    def kind(self, name):
        return self.store.types[name]

    def header(self, stamp):
        nanoseconds = round(stamp * SECOND)
        time = self.kind("builtin_interfaces/msg/Time")(*divmod(nanoseconds, SECOND))
        return self.kind("std_msgs/msg/Header")(time, "base")

    def joints(self, stamp, log, names=None, values=None, topic="/joint_states"):
        kind = "sensor_msgs/msg/JointState"
        values = position(stamp) if values is None else np.asarray(values, np.float64)
        message = self.kind(kind)(
            self.header(stamp), list(names or JOINTS), values, values * 2, np.zeros(0)
        )
        self.add(topic, kind, log, message)

    def command(self, log, values):
        kind = "std_msgs/msg/Float64MultiArray"
        layout = self.kind("std_msgs/msg/MultiArrayLayout")([], 0)
        self.add("/commands", kind, log, self.kind(kind)(layout, np.asarray(values, np.float64)))

    def trajectory(self, log, values, names=None):
        kind = "trajectory_msgs/msg/JointTrajectory"
        duration = self.kind("builtin_interfaces/msg/Duration")(0, 0)
        point = self.kind("trajectory_msgs/msg/JointTrajectoryPoint")(
            np.asarray(values, np.float64), np.zeros(0), np.zeros(0), np.zeros(0), duration
        )
        message = self.kind(kind)(self.header(0), list(names or JOINTS), [point])
        self.add("/trajectory", kind, log, message)

    def image(self, stamp, log, pixels, encoding="rgb8", step=None, data=None):
        kind = "sensor_msgs/msg/Image"
        height, width = pixels.shape[:2]
        message = self.kind(kind)(
            self.header(stamp),
            height,
            width,
            encoding,
            0,
            step or pixels[0].nbytes,
            np.frombuffer(pixels.tobytes() if data is None else data, np.uint8),
        )
        self.add("/camera", kind, log, message)

    def compressed(self, stamp, log, data):
        kind = "sensor_msgs/msg/CompressedImage"
        message = self.kind(kind)(self.header(stamp), "png", np.frombuffer(data, np.uint8))
        self.add("/camera/compressed", kind, log, message)

    def pose(self, time, position, quaternion):
        kind = "geometry_msgs/msg/PoseStamped"
        point = self.kind("geometry_msgs/msg/Point")(*map(float, position))
        turn = self.kind("geometry_msgs/msg/Quaternion")(*map(float, quaternion))
        pose = self.kind("geometry_msgs/msg/Pose")(point, turn)
        self.add("/tcp_pose", kind, time, self.kind(kind)(self.header(time), pose))

    def wrench(self, time, force, torque):
        kind = "geometry_msgs/msg/WrenchStamped"
        vectors = [self.kind("geometry_msgs/msg/Vector3")(*map(float, v)) for v in (force, torque)]
        wrench = self.kind("geometry_msgs/msg/Wrench")(*vectors)
        self.add("/wrench", kind, time, self.kind(kind)(self.header(time), wrench))

    def text(self, topic, log, text):
        kind = "std_msgs/msg/String"
        self.add(topic, kind, log, self.kind(kind)(text))

    def flag(self, topic, log, value):
        kind = "std_msgs/msg/Bool"
        self.add(topic, kind, log, self.kind(kind)(value))

    def close(self):
        self.writer.close()
        if not self.directory:
            next(self.folder.glob("*.mcap")).rename(self.target)
            for file in self.folder.iterdir():
                file.unlink()
            self.folder.rmdir()
        return self.target


def write_bag(path, seconds=3.0, seed=0, directory=False, hole=None, camera=True):
    """Joints at 50 Hz, commands at 25 Hz, images at 10 Hz, all with jitter; `hole` is without
    joints."""
    rng = np.random.default_rng(seed)
    bag = BagWriter(path, directory)
    events = []
    for rate, what in ((50, "joints"), (25, "command"), (10, "image")):
        for i in range(int(seconds * rate)):
            stamp = 100 + (i + rng.uniform(-0.2, 0.2)) / rate
            events.append((stamp + rng.uniform(0.001, 0.004), stamp, what))
    bag.text("/instruction", 100.0, "pick it up")
    for log, stamp, what in sorted(events):
        if what == "joints" and not (hole and hole[0] <= stamp - 100 < hole[1]):
            bag.joints(stamp, log)
        elif what == "command":
            bag.command(log, position(stamp))
        elif what == "image" and camera:
            grey = int(max(0, stamp - 100) * 80) % 256
            bag.image(stamp, log, np.full((8, 9, 3), grey, np.uint8))
    return bag.close()


TOPICS = """
robot: ur5e
task: pick
rate: 20
max_age: {max_age}
keys:
  joint_position: {{topic: /joint_states, field: position, names: [shoulder, elbow, wrist]}}
  action: {{topic: /commands, field: data}}
  camera_front: {{topic: /camera}}
  instruction: {{topic: /instruction}}
"""


def write_topics(path, text=TOPICS, max_age=0.25, **more):
    path.write_text(text.format(max_age=max_age, **more))
    return path


def truncate(path, part=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
