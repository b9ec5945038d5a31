import pytest

from bridle.deploy.exceptions import ExportError
from bridle.deploy.export.latency_benchmark import LatencyBenchmarkConfig, measure, untrained_policy


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
