from dataclasses import replace

from bridle.deploy.card import Origin, Score, card
from bridle.deploy.robot import load_robot

ROBOT = load_robot("ur5e_2f85")
ORIGIN = Origin(
    task="stack",
    dataset_digest="d" * 64,
    episodes=400,
    demonstrated_steps=37_888,
    control_rate=20.0,
    instructions=("lift the red cube",),
    observes=("joint_position", "image_front"),
    generator="flow",
    network="ResidualMLP",
    n_steps=4,
    training_steps=9000,
    versions={"torch": "2.13.0"},
)
SCORE = Score("stack", 100, 96, (0.902, 0.984), 3)


def test_it_says_where_the_policy_comes_from():
    text = card(ORIGIN, ROBOT, SCORE)
    for fact in ("stack on ur5e_2f85", "d" * 64, "400 episodes", "flow of 4 steps", "9000 steps"):
        assert fact in text
    assert "image_front" in text
    assert "torch 2.13.0" in text
    assert "- lift the red cube" in text


def test_it_says_how_well_the_policy_does_with_its_interval():
    text = card(ORIGIN, ROBOT, SCORE)
    assert "96 of 100 seeded episodes of stack (95 % interval 90.2% to 98.4%)" in text
    assert "such as a collision: 3" in text


def test_a_policy_that_was_not_evaluated_says_so():
    assert "Not evaluated" in card(ORIGIN, ROBOT, None)


def test_it_says_what_it_must_not_be_used_for_with_every_joint_and_limit():
    text = card(ORIGIN, ROBOT, SCORE).partition("must not be used for")[2]
    assert "certified safety function" in text
    for joint in ROBOT.joints:
        assert f"{joint.name}: {joint.position[0]:.2f} to {joint.position[1]:.2f} rad" in text


def test_a_task_without_instructions_has_none():
    assert "- none" in card(replace(ORIGIN, instructions=()), ROBOT, SCORE)


def test_of_an_imported_policy_it_says_that_its_data_are_not_known():
    text = card(replace(ORIGIN, episodes=0, demonstrated_steps=0, training_steps=0), ROBOT, SCORE)
    assert "Trained elsewhere, on data of which nothing is known here" in text
    assert "0 episodes" not in text
    assert "0 steps of training" not in text
