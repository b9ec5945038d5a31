"""Parts of a batch, several processes, mixed precision, compiled networks, and trackers."""

import json
import subprocess
import sys

import pytest
import torch

from bridle.training import runs
from bridle.training.exceptions import TrainingError
from bridle.training.learner import Learner
from bridle.training.trainer import train
from tests.training.imitation import SMALL, small, state, weights, write_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("data") / "set")


def largest_difference(a, b) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a if a[k].numel())


def gradients(config) -> list[torch.Tensor]:
    """Of the first step, before clipping."""
    learner = Learner(config)
    learner._gradients(next(learner._batches()))
    return [weight.grad.clone() for weight in learner.policy.parameters()]


def test_parts_of_a_batch_give_the_gradient_of_the_whole(data, tmp_path):
    # Regression draws no noise, so that the loss is a function of the windows alone.
    whole, parts = (
        gradients(small(data, tmp_path / "run", generator="regression", accumulate=n))
        for n in (1, 4)
    )
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert any(float(a.abs().max()) > 1e-3 for a in whole)


def test_a_run_in_parts_equals_one_in_whole_batches(data, tmp_path):
    settings = {"generator": "regression", "steps": 20}
    whole = train(small(data, tmp_path / "whole", **settings))
    parts = train(small(data, tmp_path / "parts", accumulate=4, **settings))
    assert parts.train_loss == pytest.approx(whole.train_loss, rel=1e-5)
    assert largest_difference(weights(tmp_path / "whole"), weights(tmp_path / "parts")) < 1e-4


def test_two_processes_train_what_one_does(data, tmp_path):
    settings = {"steps": 12, "log_every": 4, "generator": "regression"}
    one = train(small(data, tmp_path / "one", **settings))
    command = [
        sys.executable, "-P", "-m", "torch.distributed.run", "--nproc_per_node", "2",
        "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0",
        "-m", "bridle", "train", "--data", str(data), "--out", str(tmp_path / "two"),
        "--steps", "12", "--batch-size", "32", "--log-every", "4", "--val-ratio", "0.1",
        "--generator", "regression", "--json", str(tmp_path / "two.json"), "--set", *SMALL,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "two.json").read_text())
    assert result["processes"] == 2
    assert done.stdout.count("parameters") == 1  # one process speaks
    assert result["train_loss"] == pytest.approx(one.train_loss, rel=1e-5)
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-5
    assert largest_difference(state(tmp_path / "one"), state(tmp_path / "two")) < 1e-4
    logs = [
        [json.loads(line) for line in (tmp_path / name / runs.METRICS).open()]
        for name in ("one", "two")
    ]
    assert [line["step"] for line in logs[1]] == [4, 8, 12]
    for ours, theirs in zip(*logs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(data, tmp_path):
    with pytest.raises(TrainingError, match="multiple of accumulate, got 32 and 3"):
        small(data, tmp_path / "run", accumulate=3)
    with pytest.raises(TrainingError, match="fewer than the 1024 shares"):
        train(small(data, tmp_path / "run", batch_size=1024, accumulate=1024))


@pytest.mark.parametrize("generator", ["flow", "diffusion", "energy"])
def test_bfloat16_trains_weights_that_stay_in_float32(data, tmp_path, generator):
    full = train(small(data, tmp_path / "full", generator=generator))
    half = train(small(data, tmp_path / "half", generator=generator, precision="bf16"))
    assert half.train_loss == pytest.approx(full.train_loss, rel=0.05)
    assert half.train_loss != full.train_loss
    kept = state(tmp_path / "half")
    assert {t.dtype for name, t in kept.items() if t.is_floating_point()} == {torch.float32}


def test_bfloat16_computes_in_bfloat16(data, tmp_path):
    learner = Learner(small(data, tmp_path / "run", precision="bf16"))
    seen = []
    *_, last = (m for m in learner.policy.network.modules() if isinstance(m, torch.nn.Linear))
    last.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    next(learner.train_steps())
    assert seen[0] == torch.bfloat16


def test_what_is_asked_of_one_run_does_not_hold_for_the_next(data, tmp_path):
    train(small(data, tmp_path / "half", steps=2, precision="bf16"))
    train(small(data, tmp_path / "full", steps=2))
    train(small(data, tmp_path / "again", steps=2))
    assert largest_difference(weights(tmp_path / "full"), weights(tmp_path / "again")) == 0


def test_a_compiled_network_trains_the_same_weights(data, tmp_path, monkeypatch):
    # Traced and differentiated as ever, but without minutes of code generation.
    compile_it, compiled = torch.nn.Module.compile, []

    def traced(module):
        compiled.append(module)
        compile_it(module, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    train(small(data, tmp_path / "plain", steps=4))
    assert not compiled
    train(small(data, tmp_path / "compiled", steps=4, compile=True))
    assert len(compiled) == 1
    assert largest_difference(weights(tmp_path / "plain"), weights(tmp_path / "compiled")) < 1e-5


def test_what_cannot_be_compiled_is_refused(data, tmp_path):
    with pytest.raises(TrainingError, match="second derivatives"):
        small(data, tmp_path / "run", compile=True, generator="energy")


def test_one_process_trains_in_a_folder_at_a_time(data, tmp_path):
    from bridle.training.demonstrations.lock import WriteLock

    lock = WriteLock(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"being written by process \d+.*another --out"):
        train(small(data, tmp_path / "run"))
    lock.release()
    train(small(data, tmp_path / "run", steps=2))
    assert not lock.path.exists()


def test_wandb_that_is_missing_is_asked_for(data, tmp_path, monkeypatch):
    monkeypatch.setattr("bridle.training.trackers.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'bridle\[wandb\]'"):
        train(small(data, tmp_path / "run", wandb="my-project"))
    assert not (tmp_path / "run").exists()


STUB = """
import json, os
from pathlib import Path
class Run:
    def log(self, values, step=None, **_):
        with open(os.environ["STUB"], "a") as f:
            f.write(json.dumps({"step": step, **values}) + "\\n")
    def finish(self): pass
def init(**settings):
    Path(os.environ["STUB"] + ".init").write_text(json.dumps(settings))
    return Run()
"""


def test_numbers_go_to_weights_and_biases_when_asked(data, tmp_path, monkeypatch):
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "wandb.py").write_text(STUB)
    monkeypatch.syspath_prepend(tmp_path / "stub")
    monkeypatch.setenv("STUB", str(tmp_path / "said"))
    train(small(data, tmp_path / "run", wandb="my-project"))
    asked = json.loads((tmp_path / "said.init").read_text())
    assert (asked["project"], asked["name"], asked["resume"]) == ("my-project", "run", "allow")
    assert asked["config"]["steps"] == 40
    said = [json.loads(line) for line in (tmp_path / "said").open()]
    logged = [json.loads(line) for line in (tmp_path / "run" / runs.METRICS).open()]
    assert said == [pytest.approx(line) for line in logged]
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"keep_best": 0}, "keep_best must be at least 1, got 0"),
        ({"precision": "fp16"}, "precision must be no or bf16, got 'fp16'"),
        ({"evaluate_every": -1}, "evaluate_every must not be negative, got -1"),
        ({"evaluate_episodes": 0}, r"evaluate_episodes must lie in 1\.\.200"),
        ({"evaluate_episodes": 201}, "not those of `bridle evaluate`; got 201"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
    ],
)
def test_settings_out_of_range_are_refused(data, tmp_path, settings, message):
    with pytest.raises(TrainingError, match=message):
        small(data, tmp_path / "run", **settings)
