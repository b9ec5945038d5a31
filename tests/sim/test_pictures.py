import numpy as np
import pytest

from bridle import sim
from bridle.sim.point_cloud import crop_and_thin, intrinsics, lift


@pytest.fixture
def made():
    """Environments with cameras, where this machine can draw."""
    envs = []

    def make(task="stack", **options):
        env = sim.make(task, **{"cameras": ("front",), **options})
        envs.append(env)
        try:
            env.reset(seed=3)
        except sim.RenderingError as error:
            pytest.skip(str(error))
        return env

    yield make
    for env in envs:
        env.close()


def test_observed_pictures_are_what_the_space_says(made):
    env = made(cameras=("front", "wrist"), depth=True, points=256, image_width=80, image_height=60)
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    assert observation["camera_wrist"].shape == (60, 80, 3)
    assert observation["depth_front"].shape == (60, 80)
    assert observation["point_cloud"].shape == (256, 6)


def test_points_lie_on_what_is_seen(made):
    env = made(depth=True, image_width=320, image_height=240)
    observation, _ = env.reset(seed=3)
    camera = env.data.cam("front")
    points = lift(
        observation["depth_front"],
        intrinsics(env.model, "front", 320, 240),
        camera.xpos,
        camera.xmat.reshape(3, 3),
    )
    colours = observation["camera_front"].reshape(-1, 3).astype(int)
    red = (colours[:, 0] > 120) & (colours[:, 1] < 80) & (colours[:, 2] < 80)
    cube = env.body("red").position
    assert red.sum() > 20
    assert np.abs(points[red].mean(axis=0) - cube).max() < 0.025
    assert points[red][:, 2].max() == pytest.approx(0.04, abs=0.004)
    # The table's top is the plane z = 0.
    x, y, z = points.T
    bare = (x > 0.7) & (x < 0.85) & (np.abs(y) < 0.3) & (np.abs(z) < 0.1)
    assert bare.sum() > 500
    assert np.abs(z[bare]).max() < 0.003


def test_the_wrist_sees_what_the_gripper_holds(made):
    env = made("pick-place", cameras=("wrist",))
    env.reset(seed=3)
    expert = sim.Expert(env, rng=np.random.default_rng(0))
    while "lift" not in (act := expert.act()).phase:
        observation, *_ = env.step(act.executed)
    r, g, b = observation["camera_wrist"].astype(int).transpose(2, 0, 1)
    red = np.argwhere((r > 100) & (g < r // 2) & (b < r // 2))
    assert len(red) > 100
    # Between the fingers, in the middle of the picture.
    assert np.abs(red[:, 1].mean() - 48) < 8


def test_lifting_inverts_projecting():
    random = np.random.default_rng(0)
    matrix = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])
    rotation, _ = np.linalg.qr(random.standard_normal((3, 3)))
    position = random.standard_normal(3)
    depth = random.uniform(0.5, 2.0, (48, 64)).astype(np.float32)
    local = (lift(depth, matrix, position, rotation) - position) @ rotation
    u = 32 + 100 * local[:, 0] / -local[:, 2]
    v = 24 - 100 * local[:, 1] / -local[:, 2]
    np.testing.assert_allclose(u.reshape(48, 64)[0], np.arange(64) + 0.5, atol=1e-3)
    np.testing.assert_allclose(v.reshape(48, 64)[:, 0], np.arange(48) + 0.5, atol=1e-3)


@pytest.mark.parametrize("inside", [50, 3, 0])
def test_points_are_cropped_and_always_as_many(inside):
    random = np.random.default_rng(1)
    points = np.full((80, 6), 5.0, np.float32)
    points[:inside] = random.uniform(0, 1, (inside, 6))
    drawn = crop_and_thin(points, np.array([[0, 0, 0], [1, 1, 1]]), 20, random)
    assert drawn.shape == (20, 6)
    assert (drawn <= 1).all()
    # Each is one of those given, none twice while there are enough, and none forgotten.
    assert len(np.unique(drawn, axis=0)) == (min(inside, 20) or 1)
    assert {tuple(point) for point in drawn} <= {tuple(p) for p in points[:inside]} | {(0.0,) * 6}


def test_a_small_mark_is_seen_among_many_points_of_the_table():
    random = np.random.default_rng(2)
    table = np.zeros((20_000, 6), np.float32)
    table[:, :2] = random.uniform(0, 0.7, (len(table), 2))
    table[:, 3:] = 0.7
    on_mark = np.linalg.norm(table[:, :2] - 0.3, axis=1) < 0.025
    table[on_mark, 3:] = (0.1, 0.6, 0.1)
    # A camera that is near one corner sees it a hundred times as well.
    near = table[(table[:, :2] < 0.05).all(axis=1)]
    points = np.concatenate([table, *[near + 1e-4 * i for i in range(1, 100)]])
    drawn = crop_and_thin(points, np.array([[-1, -1, -1], [1, 1, 1]]), 512, random)
    marked = drawn[:, 3] < 0.5
    assert marked.sum() > 12
    assert np.abs(drawn[marked, :2].mean(axis=0) - 0.3).max() < 0.006
    assert (drawn[:, :2] < 0.05).all(axis=1).sum() < 12


def test_the_cloud_of_pick_place_shows_the_cube_and_the_mark():
    env = sim.make("pick-place", cameras=("front", "wrist"), points=512)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        cloud, objects = observation["point_cloud"], observation["object_state"]
        r, g, _ = cloud[:, 3:].T
        for seen, place in (
            ((r > 0.5) & (g < 0.35), objects[:2]),
            ((g > 0.45) & (r < 0.35), objects[5:7]),
        ):
            assert seen.sum() >= 4
            assert np.abs(cloud[seen, :2].mean(axis=0) - place).max() < 0.015
    env.close()


def test_randomised_episodes_look_different_and_repeat(made):
    env = made(randomise=("colours", "lights", "cameras"))
    first = env.reset(seed=1)[0]["camera_front"]
    second = env.reset(seed=2)[0]["camera_front"]
    again = env.reset(seed=1)[0]["camera_front"]
    np.testing.assert_array_equal(first, again)
    plain = made().reset(seed=1)[0]["camera_front"]
    assert (first != plain).mean() > 0.5
    assert (first != second).mean() > 0.5


def test_full_visuals_show_meshes_and_shadows(made):
    plain, full = made(), made(visuals="full")
    assert full.model.nmesh > plain.model.nmesh
    pictures = [env.reset(seed=1)[0]["camera_front"] for env in (plain, full)]
    assert (pictures[0] != pictures[1]).mean() > 0.05


def test_cameras_that_do_not_exist_are_named(made):
    with pytest.raises(sim.SimulationError, match="there is no camera 'back'"):
        made().render_camera("back")


def test_closing_one_environment_leaves_the_pictures_of_another(made):
    first, second = made(), made()
    before = second.render()
    first.render()
    first.close()
    np.testing.assert_array_equal(second.render(), before)
