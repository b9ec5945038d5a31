"""From a demonstration set to a policy that sees it, and to an environment seen in the same way."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bridle import sim
from bridle.policies import (
    INSTRUCTION,
    EmbeddingEncoderConfig,
    ImageEncoder,
    PolicyError,
)
from bridle.training import runs
from bridle.training.collection import CollectConfig, collect
from bridle.training.config import TrainConfig
from bridle.training.demonstrations import DemonstrationError, load
from bridle.training.demonstrations.storage import StoredSet, opened_sound
from bridle.training.demonstrations.windows import WindowSampler
from bridle.training.embeddings import embed
from bridle.training.evaluation import TorchPolicy, evaluate
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.observations import (
    encoder_config,
    observed_arrays,
    settable,
    stored_observations,
)
from bridle.training.observer import Observer
from bridle.training.structure import from_plain, to_plain
from bridle.training.trainer import train

TINY = {
    "state": (),
    "objects": ("encoder.width=16", "text.width=8"),
    "state+text": ("text.width=8", "text.pooling=attention"),
    "image": ("encoder.width=16", "encoder.features=8", "encoder.crop=0.8"),
    "image+text": ("encoder.backbone=vit", "encoder.width=16", "encoder.shared=true"),
    "point-cloud": ("encoder.layers=[16, 32]", "encoder.colours=false"),
    "point-cloud+objects": ("encoder.features=8",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two episodes of sort-one with two cameras and a point cloud."""
    path = tmp_path_factory.mktemp("data") / "seen"
    config = CollectConfig(
        out=path, task="sort-one", episodes=2, recovery=0.0, workers=1,
        cameras=("front", "wrist"), image_size=(56, 48), points=64,
    )  # fmt: skip
    try:
        collect(config)
    except sim.RenderingError as error:
        pytest.skip(str(error))
    return path


def config(data, out, observe, **settings) -> TrainConfig:
    settings = {"steps": 4, "batch_size": 8, "val_ratio": 0.0, "n_action_steps": 15} | settings
    small = ("network.width=16", "network.blocks=1", "generator.n_steps=1")
    return TrainConfig(
        data=data, out=out, observe=observe, set=(*small, *TINY.get(observe, ())), **settings
    )


@pytest.mark.parametrize("observe", TINY)
def test_every_way_to_observe_trains_comes_back_and_is_evaluated(
    observe, data, tmp_path, monkeypatch
):
    result = train(config(data, tmp_path / "run", observe, n_obs_steps=2, horizon=16))
    assert np.isfinite(result.train_loss)
    policy, kept = runs.load_policy(tmp_path / "run")
    assert (
        kept.policy
        == policy.config
        == Learner(
            config(data, tmp_path / "again", observe, n_obs_steps=2, horizon=16)
        ).policy_config
    )
    player = TorchPolicy(policy, "sort-one", environment=kept.data.environment)
    sees_pictures = observe.startswith(("image", "point"))
    assert bool(player.observer.environment) == sees_pictures
    monkeypatch.setattr(sim.TASKS["sort-one"], "max_steps", 20)
    assert evaluate(player, "sort-one", episodes=2).episodes == 2


def encoder(data, observe, **settings):
    learner = Learner(config(data, data.parent / "unused", observe, **settings))
    return learner, learner.policy_config.encoder


def test_a_policy_of_pictures_sees_every_camera_and_itself_but_no_objects(data):
    learner, joined = encoder(data, "image")
    own, images = joined.parts
    assert tuple(own.keys) == ("joint_position", "gripper", "tcp_pose")
    assert images.cameras == {"camera_front": (48, 56), "camera_wrist": (48, 56)}
    batch = learner._tensors(learner.windows, np.arange(3), "cpu")
    assert batch["camera_front"].dtype == torch.uint8
    assert batch["camera_front"].shape == (3, 1, 48, 56, 3)
    assert "object_state" not in batch


def test_an_environment_is_asked_for_what_the_set_holds(data):
    learner, _ = encoder(data, "point-cloud")
    env = sim.make("sort-one", **learner.card.environment)
    observation, _ = env.reset(seed=0)
    stored = load(data).arrays
    for key in ("camera_front", "camera_wrist", "point_cloud"):
        assert observation[key].shape == stored[key].shape[1:]
    env.close()


def test_the_sentence_of_an_episode_becomes_its_tokens(data):
    learner, joined = encoder(data, "state+text")
    words = joined.parts[1].vocabulary
    stored = load(data)
    tokens = learner._tensors(learner.windows, np.array([0]), "cpu")[INSTRUCTION]
    sentence = stored.instructions[stored.arrays["goal_id"][0]]
    assert tokens.tolist() == [[words.encode(sentence).tolist()]]
    # What the expert says it does is not what a policy is told.
    assert {"above", "lower", "stay"}.isdisjoint(words.words)


def test_some_observations_of_a_set_are_those_of_its_windows_and_no_others_are_read(
    data, monkeypatch
):
    learner, _ = encoder(data, "image+text", n_obs_steps=2)
    wanted, whole = learner.policy_config, load(data)
    windows = WindowSampler(
        replace(whole, arrays=observed_arrays(wanted.encoder, whole)),
        horizon=wanted.window_steps,
        n_obs_steps=2,
        n_action_steps=wanted.n_action_steps,
        obs_keys=tuple(wanted.encoder.inputs),
    )
    expected = windows.sample(np.linspace(0, len(windows) - 1, 7).astype(np.int64))
    rows = []
    read = StoredSet.read

    def noted(self, key, start, stop):
        rows.extend([key] * (stop - start))
        return read(self, key, start, stop)

    monkeypatch.setattr(StoredSet, "read", noted)
    with opened_sound(data) as (stored, _):
        found = stored_observations(wanted, stored, 7)
    assert found.keys() == set(wanted.encoder.inputs)
    for key, values in found.items():
        np.testing.assert_array_equal(values, expected[key])
        assert values.dtype == expected[key].dtype
    assert rows.count("camera_front") == 14


def test_an_environment_tells_a_policy_what_it_says(data):
    _, joined = encoder(data, "state+text")
    words = joined.parts[1].vocabulary
    observer = Observer(("joint_position", INSTRUCTION), words)
    env = sim.make("sort-one")
    frame = observer.frame(*env.reset(seed=3))
    assert set(frame) == {"joint_position", INSTRUCTION}
    known = [word for word in env.instruction.split() if word in words.words]
    assert [words.words[t - 2] for t in frame[INSTRUCTION] if t > 1] == known


@pytest.mark.parametrize("observe", TINY)
def test_settings_survive_the_file_they_are_written_to(observe, data, tmp_path):
    import yaml

    _, built = encoder(data, observe)
    text = yaml.safe_dump(runs.plain(to_plain("encoder", built)))
    assert from_plain("encoder", yaml.safe_load(text)) == built


@pytest.mark.parametrize(
    ("observe", "settings", "message"),
    [
        ("images", {}, "observe must be of state, image"),
        ("text", {}, "not text alone"),
        ("image+image", {}, "observe must be of"),
        ("image", {"set": ("encoder.cameras={}",)}, "no setting 'cameras'; it has backbone"),
        ("image", {"set": ("text.width=8",)}, "part of network, generator, encoder, got"),
        ("objects", {"set": ("encoder.groups=[]",)}, "no setting 'groups'; it has width"),
        ("state+text", {"set": ("text.pooling=max",)}, "pooling must be one of|text: .*pooling"),
        ("embedding", {}, "no embeddings; bridle data embed"),
    ],
)
def test_what_cannot_be_observed_is_named(observe, settings, message, data, tmp_path):
    with pytest.raises((TrainingError, PolicyError), match=message):
        Learner(replace(config(data, tmp_path, observe), **settings))


@pytest.mark.parametrize(
    ("observe", "lacks", "message"),
    [
        ("image", "camera_", "no pictures; collect with --cameras"),
        ("point-cloud", "point_cloud", "no point clouds; collect with --points"),
        ("objects", "object_state", "the set must have object_state"),
        ("state+text", "goal_id instruction_id", "no instructions"),
    ],
)
def test_a_set_that_lacks_what_is_to_be_observed_is_named(observe, lacks, message, data):
    whole = load(data)
    kept = {k: v for k, v in whole.arrays.items() if not k.startswith(tuple(lacks.split()))}
    settings = {part: {} for part in settable(observe)}
    with pytest.raises(TrainingError, match=message):
        encoder_config(observe, replace(whole, arrays=kept), 1, settings)


def test_a_task_whose_objects_are_not_described_is_named(data):
    whole = load(data)
    drawer = replace(whole, attributes=replace(whole.attributes, task="drawer"))
    with pytest.raises(TrainingError, match="of 'drawer' are in object_state is not known"):
        encoder_config("objects", drawer, 1, {})


def test_embeddings_are_what_the_frozen_encoder_sees_and_go_with_the_policy(
    data, tmp_path, monkeypatch
):
    run, embedded = tmp_path / "image", tmp_path / "embedded"
    train(config(data, run, "image"))
    result = embed(run, data, embedded)
    assert embed(run, data, embedded).resumed == result.episodes == 2
    before, after = load(data), load(embedded)
    assert all(np.array_equal(before.arrays[key], after.arrays[key]) for key in before.arrays)
    policy, _ = runs.load_policy(run)
    images = policy.encoder.parts[1]
    assert isinstance(images, ImageEncoder)
    frame = {key: torch.tensor(after.arrays[key][7:8, None]) for key in images.config.cameras}
    with torch.no_grad():
        assert np.allclose(after.arrays["embedding"][7], images(frame)[0], atol=1e-5)

    train(config(embedded, tmp_path / "long", "embedding", n_obs_steps=8, n_action_steps=8))
    policy, kept = runs.load_policy(tmp_path / "long")
    part = policy.encoder.parts[1]
    assert isinstance(part.config, EmbeddingEncoderConfig)
    frozen = part.frozen.state_dict()
    assert all(torch.equal(frozen[name], w) for name, w in images.state_dict().items())
    player = TorchPolicy(policy, "sort-one", environment=kept.data.environment)
    counted = []
    part.embed, whole = lambda x: counted.append(len(x["camera_front"])) or whole(x), part.embed
    monkeypatch.setattr(sim.TASKS["sort-one"], "max_steps", 16)
    evaluate(player, "sort-one", episodes=2)
    # The first frame of each episode, and the 8 that each of two chunks adds.
    assert counted == [2, 16]


def test_embeddings_are_refused_when_their_encoder_is_another_one_now(data, tmp_path):
    run, embedded = tmp_path / "image", tmp_path / "embedded"
    train(config(data, run, "image"))
    embed(run, data, embedded)
    weights = runs.load_tensors(run / runs.MODEL)
    runs.save_tensors(run / runs.MODEL, {k: v * 1.01 for k, v in weights.items()})
    with pytest.raises(TrainingError, match="has been trained further"):
        Learner(config(embedded, tmp_path / "long", "embedding"))
    with pytest.raises(DemonstrationError, match=r"holds another set: source\.weights"):
        embed(run, data, embedded)


def test_only_a_run_that_sees_the_pictures_of_a_set_can_embed_it(data, tmp_path):
    train(config(data, tmp_path / "state", "state"))
    with pytest.raises(TrainingError, match="sees no pictures"):
        embed(tmp_path / "state", data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
