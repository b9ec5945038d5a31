"""The calibration of a bundle: its two files, and what works on them."""

import io
import json
import shutil
import zipfile
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridle.deploy.bundle import GUARD, SUPPORT, amend_bundle, load_bundle, sha256
from bridle.deploy.exceptions import BundleError
from bridle.deploy.execution import ExecutionConfig
from bridle.deploy.export import export_policy
from bridle.deploy.familiarity.alarm import Level
from bridle.deploy.familiarity.calibration import Calibration, calibrate
from bridle.deploy.familiarity.guardian import Guardian, GuardianState
from bridle.deploy.familiarity.rehearsing import ScoredRehearsal
from bridle.deploy.familiarity.scores import Planned
from bridle.deploy.familiarity.support import Support
from bridle.deploy.inspection.archive import read_arrays
from bridle.deploy.rehearsal import Rehearsal, RehearsalConfig
from bridle.deploy.runtime import Runtime

from .conftest import make_source
from .test_rehearsal import Follower

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def runtime(bundle):
    return Runtime(bundle)


@pytest.fixture(scope="module")
def support(bundle, runtime):
    size = runtime.encode(nothing(bundle)).cond.shape[1]
    return Support.of(RANDOM.normal(size=(200, size)))


def nothing(bundle):
    return {s.name: np.zeros((1, *s.shape[1:]), s.dtype) for s in bundle.manifest.inputs}


@pytest.fixture(scope="module")
def calibration(bundle):
    episodes = [
        [
            {"support": random.exponential(), "continuity": random.exponential(), "residual": r}
            for r in random.exponential(size=6)
        ]
        for random in map(np.random.default_rng, range(40))
    ]
    return calibrate(
        episodes,
        weights_digest=bundle.manifest.weights_digest,
        strategy="replace",
        mask="soft",
        delay=0,
    )


@pytest.fixture
def calibrated(bundle, exported, calibration, support, tmp_path):
    copy = load_bundle(shutil.copytree(exported, tmp_path / "copy"))
    amend_bundle(copy, {GUARD: calibration.to_bytes(), SUPPORT: support.to_bytes()})
    return copy.path


def planned(bundle, time=0.0, shift=0.0):
    rows = bundle.manifest.horizon - bundle.manifest.first_action
    return Planned(nothing(bundle), np.full((rows, 7), shift), 0.0, time, bundle.manifest.dt)


# -- in a bundle ---------------------------------------------------------------------------------


def test_a_calibrated_bundle_is_read_back_as_it_was_written(calibrated, calibration, bundle):
    found = load_bundle(calibrated)
    assert Calibration.from_bytes(found.contents[GUARD]) == calibration
    assert found.manifest.files[GUARD] == sha256(calibration.to_bytes())
    assert [p.name for p in calibrated.parent.iterdir()] == ["copy"]
    # Nothing else has changed.
    assert {n: d for n, d in found.manifest.files.items() if n not in (GUARD, SUPPORT)} == dict(
        bundle.manifest.files
    )


def test_a_support_is_read_back_bit_for_bit(support):
    found = Support.from_bytes(support.to_bytes())
    for name in ("mean", "whitening", "prototypes"):
        assert np.array_equal(getattr(found, name), getattr(support, name))


def test_a_calibration_of_other_weights_is_refused(calibrated, calibration, support):
    other = replace(calibration, weights_digest="0" * 64)
    with pytest.raises(BundleError, match=r"guard.json is of other weights, '000000000000'"):
        amend_bundle(load_bundle(calibrated), {GUARD: other.to_bytes()})
    # And where somebody wrote it by hand, with hashes that fit.
    (calibrated / GUARD).write_bytes(other.to_bytes())
    manifest = json.loads((calibrated / "manifest.json").read_text())
    manifest["files"][GUARD] = sha256(other.to_bytes())
    (calibrated / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="is of other weights"):
        load_bundle(calibrated)


def test_a_calibration_does_not_fit_the_same_policy_trained_further(calibrated, policy, tmp_path):
    further = deepcopy(policy)
    with torch.no_grad():
        next(further.network.parameters()).add_(1e-3)
    export_policy(further, make_source(), tmp_path / "further")
    files = {name: (calibrated / name).read_bytes() for name in (GUARD, SUPPORT)}
    with pytest.raises(BundleError, match=r"guard.json is of other weights, .*; run bridle cal"):
        amend_bundle(load_bundle(tmp_path / "further"), files)
    assert GUARD not in load_bundle(tmp_path / "further").contents


@pytest.mark.parametrize("name", [GUARD, SUPPORT])
def test_one_file_without_the_other_is_refused(bundle, exported, tmp_path, name, calibrated):
    copy = load_bundle(shutil.copytree(exported, tmp_path / "second"))
    data = (calibrated / name).read_bytes()
    with pytest.raises(BundleError, match=r"guard.json and support.npz go together"):
        amend_bundle(copy, {name: data})


def test_a_bundle_that_was_refused_stays_as_it_was(calibrated, calibration):
    before = {p.name: p.read_bytes() for p in calibrated.iterdir()}
    with pytest.raises(BundleError, match=r"guard.json is refused"):
        amend_bundle(load_bundle(calibrated), {GUARD: b"{}"})
    assert {p.name: p.read_bytes() for p in calibrated.iterdir()} == before


# -- what a reader refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, "format version 1, this Bridle reads 2; calibrate again"),
        ({"surprise": 1}, "surprise"),
        ({"strategy": "hope"}, "strategy must be one of replace"),
        ({"mask": "auto"}, "mask must be one of soft, hard"),
        ({"alpha": 0.0}, "alpha must lie between"),
        ({"alpha": 1}, "alpha must be a number"),
        ({"alpha": 0.001}, r"alpha 0.001 needs at least 999 episodes, n_calibrated is 28"),
        ({"delay": -1}, r"delay must be an integer in 0..1024, got -1"),
        ({"delay": True}, "delay"),
        ({"window": 0}, "window must be an integer"),
        ({"n_calibrated": 10**9}, "n_calibrated must be an integer"),
        ({"alone": 1e300}, "alone must be a number of at most 1e"),
        ({"alone": -1e6}, "together .* must not be above alone"),
        ({"scores": []}, "scores must be at least 2"),
        ({"weights_digest": 5}, "weights_digest"),
    ],
)
def test_a_calibration_that_does_not_fit_the_schema_is_refused(calibration, changes, message):
    data = json.dumps(asdict(calibration) | changes).encode()
    with pytest.raises(BundleError, match=message):
        Calibration.from_bytes(data)


def test_a_calibration_of_an_older_format_is_to_be_made_again(calibration):
    content = asdict(calibration) | {"format_version": 1}
    del content["mask"]
    with pytest.raises(BundleError, match="format version 1, this Bridle reads 2; calibrate again"):
        Calibration.from_bytes(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "luck"}, "no score 'luck'"),
        ({"unit": "m"}, "no score 'support' in 'm'"),
        ({"spread": 0.0}, "spread of support must be positive"),
        ({"spread": -1.0}, "spread of support must be positive"),
        ({"typical": "1"}, "typical"),
    ],
)
def test_a_scale_that_does_not_fit_the_schema_is_refused(calibration, changes, message):
    content = asdict(calibration)
    content["scores"][0] |= changes
    with pytest.raises(BundleError, match=message):
        Calibration.from_bytes(json.dumps(content).encode())


@pytest.mark.parametrize("scores", [{"": None}, {"support": 1}, [], None, [[]]])
def test_scores_that_are_no_list_of_scales_are_refused(calibration, scores):
    content = asdict(calibration) | {"scores": scores}
    with pytest.raises(BundleError):
        Calibration.from_bytes(json.dumps(content).encode())


def test_a_score_that_is_named_twice_is_refused(calibration):
    content = asdict(calibration)
    content["scores"] = [content["scores"][0]] * 2
    with pytest.raises(BundleError, match="all different"):
        Calibration.from_bytes(json.dumps(content).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=9), part),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_value_of_any_field_is_read_unless_it_is_allowed(calibration, data):
    content = asdict(calibration)
    where = data.draw(st.sampled_from([content, content["scores"][0]]))
    name = data.draw(st.sampled_from(sorted(where)))
    where[name] = data.draw(json_values)
    try:
        found = Calibration.from_bytes(json.dumps(content).encode())
    except BundleError:
        return
    assert asdict(found) == content
    assert all(np.isfinite([s.typical, s.spread]).all() and s.spread > 0 for s in found.scores)
    assert np.isfinite([found.alone, found.together, found.alpha]).all()


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_calibration_and_no_support_are_refused(data):
    for read in (Calibration.from_bytes, Support.from_bytes):
        with pytest.raises(BundleError):
            read(data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_support_that_is_damaged_is_refused_or_still_finite(support, data):
    content = bytearray(support.to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        found = Support.from_bytes(bytes(content))
    except BundleError:
        return
    assert all(np.isfinite(getattr(found, n)).all() for n in ("mean", "whitening", "prototypes"))


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def ones(*shape) -> np.ndarray:
    return np.ones(shape, np.float32)


GOOD = {"mean": ones(3), "whitening": ones(3, 3), "prototypes": ones(9, 3)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": ones(4)}, r"whitening must be \(4, 4\), got \(3, 3\)"),
        ({"mean": ones(0)}, "mean must have 1 to 2048 numbers"),
        ({"mean": ones(3, 1)}, "mean must have"),
        ({"prototypes": ones(9, 4)}, r"prototypes must be \(5 to 4096, 3\)"),
        ({"prototypes": ones(4, 3)}, "prototypes must be"),
        ({"prototypes": ones(5000, 3)}, "prototypes must be"),
        ({"mean": ones(3) * np.nan}, "mean has numbers that are not finite"),
        ({"mean": np.ones(3)}, "<f8"),
        ({"mean": np.array(["a", "b", "c"])}, "<U1"),
        ({"whitening": np.asfortranarray(np.ones((3, 3), np.float32))}, "not <f4 in C order"),
        ({"more": ones(1)}, "it has 4 arrays, allowed are 1 to 3"),
        ({"mean": ones(2**23)}, "array 'mean' has more than 16777216 bytes"),
    ],
)
def test_arrays_that_are_no_support_are_refused(changes, message):
    Support.from_bytes(npz(**GOOD))
    with pytest.raises(BundleError, match=message):
        Support.from_bytes(npz(**(GOOD | changes)))


def test_an_array_of_objects_is_never_unpickled():
    with pytest.raises(BundleError, match=r"\|O"):
        Support.from_bytes(npz(**(GOOD | {"mean": np.array([print], object)})))


def test_an_array_that_declares_more_than_it_has_is_refused():
    data = npz(**GOOD)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {m.filename: archive.read(m) for m in archive.infolist()}
    members["mean.npy"] = members["mean.npy"].replace(b"(3,)", b"(9,)")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(BundleError, match="does not have the size that it declares"):
        read_arrays(buffer.getvalue(), largest=100, most=3)


# -- the guardian --------------------------------------------------------------------------------


def test_a_guardian_needs_a_calibrated_bundle_and_the_strategy_it_was_calibrated_for(
    bundle, calibrated, runtime
):
    with pytest.raises(BundleError, match="is not calibrated; run bridle calibrate"):
        Guardian(bundle, runtime, ExecutionConfig("replace"))
    with pytest.raises(BundleError, match="calibrated for strategy replace, not rtc"):
        Guardian(load_bundle(calibrated), runtime, ExecutionConfig("rtc"))


def test_with_rtc_a_guardian_needs_the_mask_it_was_calibrated_for(calibrated, calibration, runtime):
    found = load_bundle(calibrated)
    amend_bundle(found, {GUARD: replace(calibration, strategy="rtc", mask="hard").to_bytes()})
    found = load_bundle(calibrated)
    # A policy that reads states is guided by the soft one unless somebody chose otherwise.
    with pytest.raises(BundleError, match="calibrated for mask hard, not soft; serve it with that"):
        Guardian(found, runtime, ExecutionConfig("rtc"))
    Guardian(found, runtime, ExecutionConfig("rtc", mask="hard"))


def test_a_mask_says_nothing_of_other_strategies(calibrated, runtime):
    Guardian(load_bundle(calibrated), runtime, ExecutionConfig("replace", mask="hard"))


def test_a_guardian_refuses_conditions_of_another_encoder(calibrated, runtime):
    found = load_bundle(calibrated)
    amend_bundle(found, {SUPPORT: Support.of(RANDOM.normal(size=(50, 3))).to_bytes()})
    with pytest.raises(ValueError, match="numbers expected"):
        Guardian(load_bundle(calibrated), runtime, ExecutionConfig("replace"))


def test_a_guardian_stops_a_plan_that_jumps_where_nothing_was_seen(calibrated, runtime, bundle):
    guardian = Guardian(load_bundle(calibrated), runtime, ExecutionConfig("replace"))
    state, first = guardian.assess(GuardianState(), planned(bundle))
    assert np.isnan(first.scores["continuity"])
    state, second = guardian.assess(state, planned(bundle, time=0.4, shift=30.0))
    assert second.level is Level.HOLD
    assert "continuity" in second.why
    # It remembers nothing that it was not given.
    again = guardian.assess(GuardianState(), planned(bundle))[1]
    assert again.level is first.level
    assert again.scores["support"] == first.scores["support"]


def test_a_robot_that_was_held_can_become_familiar_again(calibrated, runtime, bundle):
    guardian = Guardian(load_bundle(calibrated), runtime, ExecutionConfig("replace"))

    def level_of(state, shift, *, held):
        for k in range(1, 6):
            before = state.interrupted() if held else state
            state, found = guardian.assess(before, planned(bundle, 0.4 * k, shift * k))
        return found

    # It plans from where it stands; without being told, it would contradict its own plans for ever.
    assert np.isnan(level_of(GuardianState(), 9.0, held=True).scores["continuity"])
    assert level_of(GuardianState(), 9.0, held=False).scores["continuity"] > 1


def test_every_chunk_of_a_rehearsal_is_scored_at_its_time(bundle, support):
    rehearsal = ScoredRehearsal(bundle, RehearsalConfig(ExecutionConfig("replace")), support)
    found = rehearsal.run(Follower(), 0)
    assert rehearsal.names == ("support", "continuity", "residual")
    assert len(found.scores) == len(found.episode.chunks) == 5
    assert found.times == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6])
    assert [np.isnan(s["continuity"]) for s in found.scores] == [True] + [False] * 4
    # An episode begins without a past.
    assert np.isnan(rehearsal.run(Follower(), 0).scores[0]["continuity"])


def test_listening_changes_nothing_of_what_the_robot_does(bundle, support):
    config = RehearsalConfig(ExecutionConfig("rtc"), delay=1)
    heard, alone = Follower(), Follower()
    ScoredRehearsal(bundle, config, support).run(heard, 3)
    Rehearsal(bundle, config).run(alone, 3)
    assert np.array_equal(heard.commands, alone.commands)


def test_heeding_changes_nothing_where_there_is_no_alarm(bundle, exported, support, tmp_path):
    high = [dict.fromkeys(("support", "continuity", "residual"), 1000000.0 + k) for k in range(40)]
    weights = bundle.manifest.weights_digest
    calm = calibrate(
        [[each] for each in high], weights_digest=weights, strategy="rtc", mask="soft", delay=1
    )
    copy = load_bundle(shutil.copytree(exported, tmp_path / "calm"))
    amend_bundle(copy, {GUARD: calm.to_bytes(), SUPPORT: support.to_bytes()})
    heeding, alone = Follower(), Follower()
    config = RehearsalConfig(ExecutionConfig("rtc"), delay=1)
    episode = Rehearsal(load_bundle(copy.path), replace(config, heeded=True)).run(heeding, 3)
    assert {chunk.assessment.level for chunk in episode.chunks} == {Level.NOMINAL}
    Rehearsal(bundle, config).run(alone, 3)
    assert np.array_equal(heeding.commands, alone.commands)
