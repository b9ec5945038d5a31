import json

import numpy as np
import pytest

from bridle.cli import main
from bridle.commands import calibrate
from bridle.deploy.bundle import GUARD, load_bundle
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.familiarity.calibration import Calibration
from bridle.deploy.familiarity.guardian import Guardian
from bridle.deploy.familiarity.support import Support
from bridle.deploy.runtime import Runtime
from bridle.sim.tasks.pick_place import PickPlace

from .bundles import SIZES, export_still


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle of an untrained policy that stays near where it is."""
    return export_still(tmp_path_factory.mktemp("bundles") / "still", "pick-place")


@pytest.fixture
def surroundings(monkeypatch):
    """Conditions of a run, and a task that is done after 1.5 s."""
    conditions = np.random.default_rng(0).normal(size=(100, sum(SIZES.values())))
    monkeypatch.setattr(calibrate, "support_of", lambda *_: (Support.of(conditions), {}))
    monkeypatch.setattr(PickPlace, "is_success", lambda self: self._steps >= 30)


def calibrated(bundle, *more):
    return main(["calibrate", "--run", "run", "--bundle", str(bundle), "--alpha", "0.5", *more])


def test_a_bundle_is_calibrated_and_measured(exported, surroundings, tmp_path, capsys):
    file = tmp_path / "result.json"
    assert calibrated(exported, "--episodes", "6", "--json", str(file)) == 0
    assert "calibrated on 6 of 6 episodes, rtc, 1 steps of delay" in capsys.readouterr().out
    bundle = load_bundle(exported)
    found = Calibration.from_bytes(bundle.contents[GUARD])
    assert found.names == ("support", "continuity", "residual")
    assert (found.strategy, found.mask, found.delay) == ("rtc", "soft", 1)
    assert found.n_calibrated == 1
    assert json.loads(file.read_text())["calibration"]["together"] == found.together
    Guardian(bundle, Runtime(bundle), ExecutionConfig("rtc"))

    few = ["--clean", "2", "--episodes", "1", "--json", str(file)]
    assert main(["benchmark", "familiarity", "--bundle", str(exported), *few]) == 0
    clean, *shifted = json.loads(file.read_text())["rows"]
    assert clean["shift"] == "as demonstrated"
    assert clean["success"] == 1
    assert len(shifted) == 4
    assert {*clean["auroc"]} == {*found.names, "both"}
    # Episodes against themselves.
    assert clean["auroc"]["both"] == 0.5
    assert all(0 <= row["held"] <= row["cautioned"] <= 1 for row in (clean, *shifted))


def test_too_few_successes_leave_the_bundle_as_it_was(exported, surroundings, monkeypatch, capsys):
    before = {p.name: p.read_bytes() for p in exported.iterdir()}
    monkeypatch.setattr(PickPlace, "is_success", lambda self: False)
    monkeypatch.setattr(PickPlace, "max_steps", 10)
    assert calibrated(exported, "--episodes", "2") == 2
    assert "needs 6 episodes that went well, got 0" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in exported.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", "0"], "episodes must be at least 1"),
        (["--alpha", "1.5"], "alpha between 0 and 1"),
        (["--scores", "support", "luck"], "scores must be two or more of support, continuity"),
        (["--scores", "support", "support"], "got support support"),
        (["--scores", "support"], "scores must be two or more"),
        (["--window", "0"], "window must be at least 1"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, capsys):
    assert main(["calibrate", "--run", "r", "--bundle", "b", *arguments]) == 2
    assert message in capsys.readouterr().err
