import h5py
import numpy as np
import pytest

from bridle.training.converters import ConversionError
from tests.training.converters.foreign import convert, stored, write_robomimic


def test_twelve_demonstrations_in_the_order_of_their_numbers(tmp_path):
    expected = write_robomimic(tmp_path / "a.hdf5")
    convert(tmp_path / "a.hdf5", "--out", tmp_path / "out")
    found = stored(tmp_path / "out")
    assert found.attributes.task == "NutAssembly"
    assert found.attributes.robot == "Panda"
    assert found.attributes.control_rate == 20
    assert np.diff(found.episode_ends, prepend=0).tolist() == list(range(3, 15))
    assert found.episode_values["source_episode"].tolist() == list(range(12))
    names = {
        "actions": "action",
        "rewards": "reward",
        "obs/robot0_joint_pos": "joint_position",
        "obs/object": "object_state",
        "obs/agentview_image": "camera_agentview",
    }
    for i, rows in enumerate(expected):
        episode = found.episode(i)
        for name, key in names.items():
            values = rows[name]
            values = values.astype(np.float32) if values.dtype.kind == "f" else values
            np.testing.assert_array_equal(episode[key], values)
        for name in ("states", "dones", "obs/robot0_eef_pos"):
            values = episode[name.removeprefix("obs/")]
            assert values.dtype == rows[name].dtype
            np.testing.assert_array_equal(values, rows[name])
        assert "next_obs_object" not in episode


def test_a_filter_key_chooses(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", image=False)
    convert(tmp_path / "a.hdf5", "--out", tmp_path / "out", "--filter-key", "train")
    found = stored(tmp_path / "out")
    assert found.episode_values["source_episode"].tolist() == [0, 2, 10]
    with pytest.raises(ConversionError, match="no filter key 'valid'; it has train"):
        convert(tmp_path / "a.hdf5", "--out", tmp_path / "no", "--filter-key", "valid")


def test_the_rate_must_be_said_if_the_file_does_not(tmp_path):
    write_robomimic(tmp_path / "a.hdf5", demos=1)
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["data"].attrs["env_args"] = "{}"
    with pytest.raises(ConversionError, match="give --rate HZ"):
        convert(tmp_path / "a.hdf5", "--out", tmp_path / "out")
    convert(tmp_path / "a.hdf5", "--out", tmp_path / "out", "--rate", "15", "--task", "nut")
    assert stored(tmp_path / "out").attributes.control_rate == 15
    assert stored(tmp_path / "out").task == "nut"


def spoil(path, demo, change):
    with h5py.File(path, "a") as file:
        change(file[f"data/{demo}"])


def shorten(group):
    values = group["obs/object"][:-1]
    del group["obs/object"]
    group["obs/object"] = values


def lie(group):
    group.attrs["num_samples"] = 10**9


def retype(group):
    del group["actions"]
    group["actions"] = np.ones((5, 6))


def nan(group):
    group["actions"][2, 3] = np.nan


def unwritten(group):
    del group["rewards"]
    group.create_dataset("rewards", (5,), "f8", chunks=(1,))


def drop(group):
    del group["states"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (shorten, "differ in length"),
        (lie, "num_samples says 1000000000, there are 5"),
        (retype, r"expected float64 \(7,\) per step as in demo_0"),
        (nan, "data/action, episode 2, row 2: expected finite numbers"),
        (unwritten, "rewards: a part was never written"),
        (drop, "/data/demo_2/states is missing"),
    ],
)
def test_a_wrong_demonstration_stops_or_is_left_out(tmp_path, change, says):
    path = tmp_path / "a.hdf5"
    write_robomimic(path, demos=4, image=False)
    spoil(path, "demo_2", change)
    with pytest.raises(ValueError, match=rf"^demo_2: .*{says}.*--skip-bad") as error:
        convert(path, "--out", tmp_path / "out")
    assert "\n" not in str(error.value)
    convert(path, "--out", tmp_path / "skip", "--skip-bad", "--json", tmp_path / "report.json")
    assert stored(tmp_path / "skip").episode_values["source_episode"].tolist() == [0, 1, 3]
    assert "demo_2" in (tmp_path / "report.json").read_text()


def test_links_to_other_files_are_refused(tmp_path):
    write_robomimic(tmp_path / "other.hdf5", demos=1)
    for i, link in enumerate(
        [
            lambda demo: demo.__setitem__("actions", h5py.ExternalLink("other.hdf5", "/data")),
            lambda demo: demo.create_dataset(
                "actions", (3, 7), "f8", external=[(str(tmp_path / "secret"), 0, 168)]
            ),
        ]
    ):
        path = tmp_path / f"{i}.hdf5"
        write_robomimic(path, demos=1, image=False)
        (tmp_path / "secret").write_bytes(b"s" * 168)
        with h5py.File(path, "a") as file:
            del file["data/demo_0/actions"]
            link(file["data/demo_0"])
        with pytest.raises(ConversionError, match=r"leads to another file|in other files"):
            convert(path, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()
