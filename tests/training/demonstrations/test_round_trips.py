import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridle.training.demonstrations import DemonstrationWriter, KeySpec, load
from bridle.training.demonstrations.filtering import Wanted, filter_set
from bridle.training.demonstrations.repairing import repair
from bridle.training.demonstrations.schema import DTYPES
from bridle.training.demonstrations.statistics import statistics
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from bridle.training.demonstrations.zips import pack
from tests.training.demonstrations.sets import assert_holds, files_of

NAMES = ("action", "tactile", "flags", "picture")


@st.composite
def sets(draw):
    """Keys of any shape and dtype, and episodes of any length whose rows come in any blocks."""
    keys = {
        name: KeySpec(draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=5)), dtype, "1", "")
        for name, dtype in zip(
            NAMES, draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4)), strict=False
        )
    }
    lengths = draw(st.lists(st.integers(1, 40) | st.integers(990, 1010), max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    episodes = [{key: random_rows(rng, n, spec) for key, spec in keys.items()} for n in lengths]
    return keys, episodes, draw(st.integers(1, 1500))


def random_rows(rng, n, spec):
    """Any bit pattern that is a finite number of the dtype."""
    dtype = np.dtype(spec.dtype)
    size = n * int(np.prod(spec.shape))
    if dtype.kind == "b":
        rows = rng.random(size) < 0.5
    else:
        rows = np.frombuffer(rng.bytes(size * dtype.itemsize), dtype).copy()
        if dtype.kind == "f":
            rows[~np.isfinite(rows)] = 0
    return rows.reshape(n, *spec.shape)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(sets())
def test_anything_that_is_stored_comes_back(tmp_path_factory, drawn):
    keys, episodes, block = drawn
    folder = tmp_path_factory.mktemp("sets")
    path = folder / "set"
    with DemonstrationWriter.create(
        path,
        robot="r",
        task="t",
        control_rate=7,
        keys=keys,
        instructions=[],
        episode_keys={"number": "uint16", "weight": "float64"},
    ) as writer:
        for i, rows in enumerate(episodes):
            n = len(rows["action"])
            blocks = (
                {key: values[at : at + block] for key, values in rows.items()}
                for at in range(0, n, block)
            )
            writer.append_blocks(blocks, {"number": i, "weight": i / 3})
    assert [p for p in validate(path) if p.severity == "error"] == []
    if not episodes:
        return
    demonstrations = load(path)
    assert_holds(demonstrations, episodes)
    assert demonstrations.episode_values["number"].tolist() == list(range(len(episodes)))

    mapped = load(path, memory="memmap")
    assert_holds(mapped, episodes)
    pack(path, folder / "set.zip")
    zipped = load(folder / "set.zip")
    assert_holds(zipped, episodes)
    digests = {d.digest for d in (demonstrations, mapped, zipped)}
    assert digests == {info(path).digest} == {statistics(path).digest}

    before = files_of(path)
    assert repair(path).done == ()
    assert files_of(path) == before
    filter_set(path, folder / "filtered", Wanted(episodes="0-"))
    assert_holds(load(folder / "filtered"), episodes)
