"""The programme against a second solver and against its own statement."""

import numpy as np
import pytest
import quadprog

from bridle.deploy.guard.limits import Rows, SingularityLimit
from bridle.deploy.guard.program import PENALTY, Constraints, nearest, tool_metric

from .bodies import HOME, situation

NOTHING = Rows(np.zeros((0, 7)), np.zeros(0), ())


def rows(matrix, bound):
    return Rows(matrix, bound, tuple(f"row {i}" for i in range(len(bound))))


def problem(random, n=7, hard=33, soft=0, least=-0.3):
    """Bounds that leave a point free if `least` is not negative, and a wish outside of them."""
    free = random.normal(0, 0.3, n)
    matrix = random.normal(0, 1, (hard, n))
    bound = matrix @ free + random.uniform(least, 1.0, hard)
    lower, upper = free - random.uniform(0, 2, n), free + random.uniform(0, 2, n)
    wanted = random.normal(0, 3, n)
    factor = random.normal(0, 1, (n, n))
    metric = factor @ factor.T + 0.1 * np.eye(n)
    more = random.normal(0, 1, (soft, n))
    constraints = Constraints(
        lower, upper, rows(matrix, bound), rows(more, more @ free - random.uniform(0, 1, soft))
    )
    return wanted, constraints, metric


def by_quadprog(wanted, c, metric):
    """The same optimum, asked of another method (Goldfarb and Idnani 1983)."""
    n, k = wanted.size, len(c.soft.bound)
    size = n + k
    hessian = np.zeros((size, size))
    hessian[:n, :n] = metric
    hessian[range(n, size), range(n, size)] = PENALTY
    linear = np.concatenate([metric @ wanted, np.zeros(k)])
    unit = np.eye(size)
    slack = np.zeros((k, size))
    slack[:, :n], slack[range(k), range(n, size)] = c.soft.matrix, -1.0
    hard = np.zeros((len(c.hard.bound), size))
    hard[:, :n] = c.hard.matrix
    # quadprog: C^T x >= b.
    columns = np.concatenate([unit[:n], -unit[:n], unit[n:], -hard, -slack])
    bounds = np.concatenate([c.lower, -c.upper, np.zeros(k), -c.hard.bound, -c.soft.bound])
    try:
        return quadprog.solve_qp(hessian, linear, columns.T.copy(), bounds)[0][:n]
    except ValueError:  # the constraints are inconsistent
        return None


@pytest.mark.parametrize(("soft", "count"), [(0, 10_000), (3, 2_000)])
def test_the_optimum_is_that_of_another_solver(soft, count):
    random = np.random.default_rng(soft)
    solved = 0
    for _ in range(count):
        wanted, constraints, metric = problem(random, soft=soft)
        found = nearest(wanted, constraints, metric)
        expected = by_quadprog(wanted, constraints, metric)
        assert (found is None) == (expected is None)
        if found is not None:
            solved += 1
            assert np.abs(found.velocity - expected).max() < 1e-6
    # Some are infeasible, too.
    assert 0.2 * count < solved < 0.95 * count


def test_what_is_allowed_is_left_as_it_is():
    wanted = np.linspace(-0.5, 0.5, 7)
    constraints = Constraints(np.full(7, -1.0), np.full(7, 1.0), NOTHING, NOTHING)
    assert constraints.broken(wanted) is None
    found = nearest(wanted, constraints)
    assert np.allclose(found.velocity, wanted, atol=1e-12)
    assert found.active == ()


def test_rows_that_hold_back_are_named():
    matrix = np.zeros((2, 7))
    matrix[0, 0], matrix[1, 1] = 1.0, 1.0
    constraints = Constraints(
        np.full(7, -1.0), np.full(7, 1.0), rows(matrix, np.array([0.2, 5.0])), NOTHING
    )
    found = nearest(np.array([1.0, 0, 0, 3.0, 0, 0, 0]), constraints)
    assert found.active == ("joint 3", "row 0")
    assert found.velocity[:4] == pytest.approx([0.2, 0, 0, 1.0])


def test_the_row_that_is_broken_most_is_named_with_its_limit():
    matrix = np.zeros((2, 7))
    matrix[0, 0], matrix[1, 1] = 1.0, 1.0
    hard, soft = rows(matrix, np.array([0.2, 0.5])), rows(matrix[:1], np.array([0.1]))
    rules = ("workspace", "collision", "singularity")
    constraints = Constraints(np.full(7, -9.0), np.full(7, 9.0), hard, soft, rules)
    assert constraints.broken(np.array([0.1, 0.5, 9.0, 0, 0, 0, 0])) is None
    broken = constraints.broken(np.array([0.15, 0.7, 0, 0, 0, 0, 0]))
    assert (broken.rule, broken.what, broken.unit) == ("collision", "row 1", "m/s")
    assert (broken.value, broken.bound) == pytest.approx((0.7, 0.5))
    assert constraints.broken(np.array([0.15, 0, 0, 0, 0, 0, 0])).rule == "singularity"


def test_a_soft_row_gives_way_to_a_hard_one_and_says_so():
    matrix = np.zeros((1, 7))
    matrix[0, 0] = 1.0
    hard, soft = rows(-matrix, np.array([-0.5])), rows(matrix, np.array([0.1]))
    constraints = Constraints(np.full(7, -1.0), np.full(7, 1.0), hard, soft)
    found = nearest(np.zeros(7), constraints)
    assert found.velocity[0] >= 0.5
    assert found.gave_way == ("row 0",)


@pytest.mark.parametrize("where", ["wanted", "matrix", "bound", "lower"])
def test_what_is_not_a_number_has_no_solution(where):
    wanted, constraints, _ = problem(np.random.default_rng(0), least=0.0)
    assert nearest(wanted, constraints) is not None
    parts = {
        "wanted": wanted,
        "matrix": constraints.hard.matrix,
        "bound": constraints.hard.bound,
        "lower": constraints.lower,
    }
    parts[where].flat[0] = np.nan
    assert nearest(wanted, constraints) is None


def test_bounds_that_contradict_have_no_solution():
    constraints = Constraints(np.full(7, 0.1), np.full(7, -0.1), NOTHING, NOTHING)
    assert nearest(np.zeros(7), constraints) is None
    matrix = np.zeros((2, 7))
    matrix[0, 0], matrix[1, 0] = 1.0, -1.0
    opposed = rows(matrix, np.array([-0.1, -0.1]))
    wide = Constraints(np.full(7, -1.0), np.full(7, 1.0), opposed, NOTHING)
    assert nearest(np.zeros(7), wide) is None


def test_the_tools_path_is_bent_least_where_that_is_asked_for():
    random = np.random.default_rng(0)
    s = situation(HOME)
    jacobian, metric = s.model.tool_jacobian()[:3], tool_metric(s.model)
    less = []
    for _ in range(50):
        wanted, constraints, _ = problem(random, hard=6, least=0.0)
        changes = [
            np.linalg.norm(jacobian @ (nearest(wanted, constraints, p).velocity - wanted))
            for p in (None, metric)
        ]
        less.append(changes[1] / changes[0])
    assert np.median(less) < 0.95
    assert max(less) < 1.05


def test_soft_limits_are_kept_apart_from_hard_ones():
    s = situation(HOME)
    found = Constraints.of([SingularityLimit(least=0.01, near=5.0)], s)
    assert len(found.soft.bound) == 1
    assert len(found.hard.bound) == 0
    assert np.isinf(found.lower).all()
