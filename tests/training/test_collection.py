"""Collections: what they record, that they resume after a kill, that workers change nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bridle import sim
from bridle.training.collection import CollectConfig, collect
from bridle.training.demonstrations import DemonstrationError, load
from bridle.training.demonstrations.validation import validate
from bridle.training.exceptions import TrainingError

KILLS = 7


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A set that was collected without interruption, and what its collection said."""
    out = tmp_path_factory.mktemp("collected") / "set"
    result = collect(CollectConfig(out=out, task="push", episodes=10, recovery=0.3, workers=1))
    return load(out), result


def test_a_set_holds_what_its_task_observes_and_what_was_said(whole):
    data, result = whole
    env = sim.make("push")
    observed = set(env.observation_space.spaces)
    labels = {"action", "reward", "cost", "instruction_id", "goal_id", "intervention", "timestamp"}
    assert set(data.arrays) == observed | labels
    assert data.instructions == env.sentences()
    assert data.n_episodes == result.episodes == 10
    assert data.n_steps == result.steps
    assert data.control_rate == 20
    assert data.attributes.source["noise"] == 0.01
    goals = {data.instructions[i] for i in np.unique(data.arrays["goal_id"])}
    assert goals == {"push the block onto the green mark"}
    # A person's words are said while a mistake is corrected, and only then.
    intervention = data.arrays["intervention"]
    said = {data.instructions[i] for i in np.unique(data.arrays["instruction_id"][intervention])}
    assert intervention.any()
    assert said.isdisjoint(env.phases)
    spoken = {data.instructions[i] for i in np.unique(data.arrays["instruction_id"][~intervention])}
    assert spoken <= set(env.phases)
    # Every episode ends in success, and says which way was taken.
    assert all(data.episode(i)["reward"][-1] == 1 for i in range(10))
    assert sum(result.modes.values()) == 10
    assert set(np.unique(data.episode_values["mode"])) <= {1, 2}


def test_seeds_run_on_and_the_rate_of_success_counts_them(whole):
    data, result = whole
    seeds = data.episode_values["seed"]
    assert (np.diff(seeds) > 0).all()
    assert seeds[0] >= 10_000
    assert result.attempts == seeds[-1] - 10_000 + 1
    assert result.success_rate == pytest.approx(10 / result.attempts)


def test_a_complete_set_is_left_as_it_is_and_a_larger_one_continues_it(whole, tmp_path):
    data, _ = whole
    out = tmp_path / "set"
    config = {"out": out, "task": "push", "recovery": 0.3, "workers": 1}
    assert collect(CollectConfig(episodes=4, **config)).resumed == 0
    again = collect(CollectConfig(episodes=4, **config))
    assert (again.resumed, again.episodes) == (4, 4)
    assert collect(CollectConfig(episodes=10, **config)).resumed == 4
    assert load(out).digest == data.digest


def test_another_set_is_never_continued(tmp_path):
    config = {"out": tmp_path / "set", "task": "reach", "episodes": 1, "workers": 1}
    collect(CollectConfig(**config))
    before = load(tmp_path / "set").digest
    for change in ({"seed": 1}, {"noise": 0.0}, {"task": "push"}, {"distractors": 2}):
        with pytest.raises(DemonstrationError, match="another set"):
            collect(CollectConfig(**{**config, **change}))
    assert load(tmp_path / "set").digest == before


@pytest.mark.slow
def test_a_collection_that_is_killed_loses_nothing_and_goes_on(whole, tmp_path):
    data, _ = whole
    out = tmp_path / "set"
    command = [
        sys.executable, "-m", "bridle", "collect", "--task", "push", "--recovery", "0.3",
        "--episodes", "10", "--workers", "1", "--out", str(out),
    ]  # fmt: skip
    chance = random.Random(5)
    held = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # From the moment it begins to write: it is killed while it creates, appends or simulates.
        deadline = time.monotonic() + 60
        while not _begun(out) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.6 if held < 8 else 0.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not out.exists():
            continue
        assert not [p for p in validate(out) if p.severity == "error"]
        kept = load(out, keys=["action"])
        assert kept.n_episodes >= held
        held = kept.n_episodes
        np.testing.assert_array_equal(kept.arrays["action"], data.arrays["action"][: kept.n_steps])
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert load(out).digest == data.digest


def _begun(out: Path) -> bool:
    return out.with_name(out.name + ".lock").exists()


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_set(whole, tmp_path):
    ray = pytest.importorskip("ray")
    data, _ = whole
    try:
        config = {"out": tmp_path / "set", "task": "push", "recovery": 0.3, "workers": "ray"}
        collect(CollectConfig(episodes=10, **config))
    finally:
        ray.shutdown()
    assert load(tmp_path / "set").digest == data.digest


def test_pictures_are_recorded_as_they_are_seen(tmp_path):
    out = tmp_path / "set"
    config = CollectConfig(
        out=out,
        task="reach",
        episodes=1,
        workers=1,
        cameras=("front", "wrist"),
        image_size=(64, 48),
        depth=True,
        points=32,
    )
    try:
        env = sim.make("reach", **config.environment_options())
        seen, _ = env.reset(seed=config.first_seed)
    except sim.RenderingError as error:
        pytest.skip(str(error))
    collect(config)
    data = load(out)
    assert data.arrays["camera_wrist"].shape[1:] == (48, 64, 3)
    assert data.arrays["depth_front"].shape[1:] == (48, 64)
    assert data.arrays["point_cloud"].shape[1:] == (32, 6)
    np.testing.assert_array_equal(data.arrays["camera_front"][0], seen["camera_front"])
    env.close()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"noise": 0.2}, "noise must lie in"),
        ({"noise": float("nan")}, "noise must lie in"),
        ({"recovery": 1.5}, "recovery must lie in"),
        ({"seed": -1}, "seed must lie in"),
        ({"workers": -2}, "workers must not be negative"),
    ],
)
def test_wrong_settings_are_refused(setting, message, tmp_path):
    with pytest.raises(TrainingError, match=message):
        CollectConfig(out=tmp_path / "set", **setting)


def test_wrong_tasks_and_cameras_leave_nothing_behind(tmp_path):
    for setting in ({"task": "fly"}, {"cameras": ("back",)}, {"points": 5}):
        with pytest.raises(sim.SimulationError):
            collect(CollectConfig(out=tmp_path / "set", workers=1, **setting))
    assert not list(tmp_path.iterdir())
