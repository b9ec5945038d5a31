import pytest

from bridle.commands.benchmark import latency
from bridle.deploy.exceptions import ExportError
from bridle.deploy.export.latency_benchmark import (
    MODELS,
    LatencyBenchmark,
    LatencyBenchmarkConfig,
    LatencyRow,
    measure,
    untrained_policy,
)
from bridle.deploy.footprint import Footprint, footprint


def test_every_backend_is_measured_in_the_same_run():
    result = measure(LatencyBenchmarkConfig(models=("mlp-flow1",), seconds=0.0, rounds=4))
    rows = {row.backend: row for row in result.rows}
    assert {"infer", "onnxruntime", "torch"} <= rows.keys()
    assert all(row.chunks == 4 for row in result.rows)
    assert all(0 < row.median_ms <= row.p99_ms for row in result.rows)
    # The floor is of the network, whoever runs it: two operations for each of its weights.
    assert len({row.floor_ms for row in result.rows}) == 1
    policy = untrained_policy("mlp-flow1", 0)
    matrices = sum(w.numel() for w in policy.network.parameters() if w.ndim == 2)
    floor = 2e3 * matrices / (1e9 * result.sgemm_gflops)
    assert rows["infer"].floor_ms == pytest.approx(floor, rel=1e-6)
    assert 0 < rows["infer"].overhead_ms < rows["infer"].median_ms
    assert rows["torch"].overhead_ms is None


def test_serving_a_small_policy_takes_little_of_a_robots_computer(exported):
    cost = footprint(exported)
    # What PyTorch takes to be imported alone is more.
    assert cost.resident_mb <= cost.peak_mb < 150
    assert cost.import_seconds < 2.0


def test_a_bundle_that_cannot_be_served_is_named_in_one_line(tmp_path):
    with pytest.raises(ChildProcessError, match=r"BundleError: .*nowhere is not a folder"):
        footprint(tmp_path / "nowhere")


def test_its_tables_fit_into_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    cost = Footprint(0.1, 12.34, 0.1234, 1234.5, 1234.5)
    rows = tuple(
        LatencyRow(model, backend, 63_560_000, 1234.5, 1234.5, 0.0123, None, 1)
        for model in MODELS
        for backend in ("infer", "onnxruntime", "torch", "openvino")
    )
    config = LatencyBenchmarkConfig()
    result = LatencyBenchmark(rows, dict.fromkeys(MODELS, cost), 60.0, config)
    monkeypatch.setattr(latency, "measure", lambda _: result)
    assert latency.main([]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    assert all(model in printed for model in MODELS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ("resnet",)}, "models must be of unet-big-ddim10"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"seconds": float("nan")}, "seconds must not be negative"),
    ],
)
def test_sizes_out_of_range_are_refused(change, message):
    with pytest.raises(ExportError, match=message):
        LatencyBenchmarkConfig(**change)
