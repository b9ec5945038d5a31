import pytest

from bridle.training.outcomes import EpisodeResult, count, wilson_interval

NAMES = ("reach", "lift", "place")


def episode(seed, passed, mode="", cost=0.0, asked="a", success=False):
    return EpisodeResult(seed, success, 10 * (seed + 1), cost, mode, asked, passed)


def counted(results, modes=(), instructions=("a",), milestones=NAMES):
    return count(
        "task",
        results,
        modes=modes,
        instructions=instructions,
        milestones=milestones,
        seconds=1.0,
    )


def test_wilson_interval_of_published_values():
    # Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662, 0 of 20 is 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_a_failure_is_counted_at_the_first_milestone_it_did_not_pass():
    result = counted(
        [
            episode(0, ()),
            episode(1, ("reach",)),
            episode(2, ("reach", "place")),
            episode(3, NAMES),
            episode(4, NAMES, success=True),
        ]
    )
    assert [(m.name, m.passed, m.failed) for m in result.milestones] == [
        ("reach", 4, 1),
        ("lift", 2, 2),
        ("place", 3, 0),
        ("success", 1, 1),
    ]
    assert sum(m.failed for m in result.milestones) == result.episodes - result.successes
    assert result.milestones[0].passed_interval == wilson_interval(4, 5)


def test_a_success_by_another_way_is_no_failure():
    result = counted([episode(0, ("place",), success=True)])
    assert [(m.passed, m.failed) for m in result.milestones] == [(0, 0), (0, 0), (1, 0), (1, 0)]


def test_modes_and_instructions_share_the_episodes():
    result = counted(
        [
            episode(0, (), mode="right", asked="b", success=True),
            episode(1, (), mode="left", asked="b"),
            episode(2, (), mode="right", asked="c"),
            episode(3, (), asked="b"),
        ],
        modes=("left", "right"),
        instructions=("a", "b", "c"),
    )
    assert [(s.name, s.episodes, s.successes) for s in result.by_mode] == [
        ("left", 1, 0),
        ("right", 2, 1),
        ("none", 1, 0),
    ]
    assert [(s.name, s.episodes, s.successes) for s in result.by_instruction] == [
        ("b", 3, 1),
        ("c", 1, 0),
    ]
    assert result.by_mode[1].success_rate == 0.5
    assert result.by_mode[1].success_interval == wilson_interval(1, 2)


def test_what_a_task_does_not_have_is_not_counted():
    result = counted([episode(0, ())], milestones=())
    assert result.by_mode == result.by_instruction == result.milestones == ()


def test_steps_and_costs_are_those_of_an_episode():
    result = counted([episode(0, (), cost=3.0), episode(1, ()), episode(2, (), cost=1.5)])
    assert result.mean_steps == 20
    assert result.mean_cost == 1.5
    assert result.episodes_with_cost == 2
