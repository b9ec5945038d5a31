"""Walking the one-step graph where it stays on its device, tried with one in host memory."""

from types import SimpleNamespace

import numpy as np
import pytest

from bridle.deploy import bundle as files
from bridle.deploy.backends import KEPT, OnnxRuntime, Signature
from bridle.deploy.exceptions import BundleError
from bridle.deploy.runtime import Runtime
from bridle.deploy.walking import HostWalk, ResidentWalk, open_walk

STEP = Signature(files.STEP, ("x", "row", "cond"), ("next", "score"), repeated=True)


@pytest.fixture(scope="module")
def graph(bundle):
    return OnnxRuntime(bundle.contents[files.STEP], STEP, "cpu", 1)


@pytest.fixture(scope="module")
def cond_size(bundle):
    random = np.random.default_rng(0)
    runtime = Runtime(bundle)
    observation = {
        spec.name: random.standard_normal((1, *spec.shape[1:]), np.float32)
        for spec in bundle.manifest.inputs
    }
    return runtime.encode(observation).cond.shape[1]


def walked(walk, table, batch, cond_size, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((batch, 16, 7), np.float32)
    walk.begin(x, table, random.standard_normal((batch, cond_size), np.float32))
    for k in range(len(table)):
        walk.step(k)
    return [walk.state(k) for k in range(len(table) + 1)], walk.scores(len(table))


def test_a_resident_walk_gives_what_a_walk_in_host_memory_gives(bundle, graph, cond_size):
    tables = Runtime(bundle).tables
    host, resident = HostWalk(graph), ResidentWalk(graph)
    # Back and forth between batches and tables, and twice along each.
    for n_steps, batch, seed in ((4, 1, 0), (10, 3, 1), (4, 1, 2), (10, 3, 3)):
        expected, scores = walked(host, tables[n_steps], batch, cond_size, seed)
        found, found_scores = walked(resident, tables[n_steps], batch, cond_size, seed)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found_scores, scores)


def test_on_the_cpu_a_walk_is_in_host_memory(graph):
    assert isinstance(open_walk(graph), HostWalk)


class Device:
    """ONNX Runtime on a GPU, as far as a walk sees it: numbers stay in `memory`, runs are noted."""

    def __init__(self, refuses=False):
        self.refuses, self.opened, self.runs, self.copies = refuses, [], [], []
        self.GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_EXTENDED=0)
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=self.place)
        self.SessionOptions, self.RunOptions = self.session_options, self.run_options
        self.InferenceSession = self.session

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def session_options(self):
        return SimpleNamespace(add_session_config_entry=lambda *_: None)

    def run_options(self):
        options = SimpleNamespace(graph=None)
        options.add_run_config_entry = lambda key, value: setattr(options, "graph", (key, value))
        return options

    def session(self, model, options, providers):
        self.opened.append(dict(providers))
        if self.refuses and dict(providers)["CUDAExecutionProvider"]:
            raise RuntimeError("cannot use the graph capture feature")
        named = [[SimpleNamespace(name=name) for name in names] for names in model]
        return SimpleNamespace(
            get_inputs=lambda: named[0],
            get_outputs=lambda: named[1],
            get_providers=self.get_available_providers,
            disable_fallback=lambda: None,
            io_binding=self.io_binding,
            run_with_iobinding=self.run,
        )

    def io_binding(self):
        bound = {}
        return SimpleNamespace(
            bound=bound,
            bind_ortvalue_input=bound.__setitem__,
            bind_ortvalue_output=bound.__setitem__,
        )

    def place(self, values, device, _):
        assert device == "cuda"
        place = SimpleNamespace(values=values)
        place.update_inplace = lambda new: self.copies.append("to") or np.copyto(place.values, new)
        place.numpy = lambda: self.copies.append("from") or place.values.copy()
        return place

    def run(self, binding, options):
        at = {name: place.values for name, place in binding.bound.items()}
        self.runs.append((options and options.graph, {n: id(v) for n, v in at.items()}))
        self.copies.append("run")
        np.copyto(at["next"], at["x"] + at["row"][0])
        np.copyto(at["score"], at["x"].sum(axis=(1, 2)))


@pytest.fixture
def device(monkeypatch):
    device = Device()
    monkeypatch.setattr("bridle.deploy.backends.onnx_runtime._onnxruntime", lambda: device)
    return device


def opened() -> OnnxRuntime:
    return OnnxRuntime((STEP.inputs, STEP.outputs), STEP, "cuda", 1)


TABLE = np.array([[1.0], [2.0], [3.0]], np.float32)


def test_on_a_gpu_nothing_is_copied_between_the_steps(device):
    walk = open_walk(opened())
    states, scores = walked(walk, TABLE, 2, 5)
    np.testing.assert_allclose(states[-1], states[0] + 6, rtol=1e-6)
    assert scores.shape == (3, 2)
    assert device.copies[:5] == ["to", "to", "run", "run", "run"]


def test_every_recorded_graph_has_its_own_number_and_always_the_same_places(device):
    assert open_walk(opened())
    walk = open_walk(opened())
    for seed in range(3):
        walked(walk, TABLE, 1, 5, seed)
    walked(walk, TABLE[:2], 1, 5)
    places: dict[tuple[str, str], set] = {}
    for graph, at in device.runs:
        places.setdefault(graph, set()).add(tuple(sorted(at.items())))
    assert {key for key, _ in places} == {"gpu_graph_id"}
    assert sorted(number for _, number in places) == ["1", "2", "3", "4", "5"]
    assert all(len(each) == 1 for each in places.values())


def test_recording_is_asked_for_and_done_without_where_it_is_refused(device):
    assert opened().records
    assert device.opened == [
        {"CUDAExecutionProvider": {"enable_cuda_graph": "1"}, "CPUExecutionProvider": {}}
    ]
    device.refuses = True
    graph = opened()
    assert not graph.records
    assert device.opened[-1]["CUDAExecutionProvider"] == {}
    walked(open_walk(graph), TABLE, 1, 5)
    assert {number for number, _ in device.runs} == {None}


def test_what_is_recorded_is_bounded_and_the_rest_runs_without(device):
    walk = open_walk(opened())
    for batch in range(1, KEPT + 3):
        walked(walk, TABLE, batch, 5)
    numbers = [int(number) for (_, number), _ in device.runs]
    assert numbers == [*range(1, 3 * KEPT + 1), *[-1] * 6]


def test_a_graph_that_cannot_be_loaded_is_named_in_one_line():
    with pytest.raises(BundleError, match=r"step\.onnx cannot be loaded") as refusal:
        OnnxRuntime(b"nonsense", STEP, "cpu", 1)
    assert "\n" not in str(refusal.value)
