import json
import shutil

import numpy as np
import pytest
import zarr

from bridle.training.demonstrations import (
    DemonstrationWriter,
    load,
)
from bridle.training.demonstrations.summary import info
from bridle.training.demonstrations.validation import validate
from tests.training.demonstrations.sets import (
    SETTINGS,
    record,
)


def test_the_digest_is_of_content_not_of_storage(recorded, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    root = zarr.open_group(copy, mode="a", zarr_format=2)
    rows = root["data/action"][:]
    root.create_array("data/action", data=rows, chunks=(7, 7), compressors=None, overwrite=True)
    assert load(copy).digest == load(recorded).digest == info(copy).digest
    rows[50, 6] = np.nextafter(rows[50, 6], np.float32(np.inf))
    root["data/action"][:] = rows
    assert load(copy).digest != load(recorded).digest


def test_the_digest_covers_the_attributes(recorded):
    before = load(recorded).digest
    attributes = json.loads((recorded / ".zattrs").read_text())
    attributes["instructions"][0] = "approach"
    (recorded / ".zattrs").write_text(json.dumps(attributes))
    assert load(recorded).digest != before


def test_info_agrees_with_numpy_and_is_json(tmp_path):
    episodes = record(tmp_path / "set", (700, 900))
    summary = info(tmp_path / "set")
    actions = np.concatenate([rows["action"] for rows in episodes]).astype(float)
    found = summary.keys["action"]
    assert (found.minimum, found.maximum) == (actions.min(), actions.max())
    assert found.mean == pytest.approx(actions.mean(), rel=1e-12)
    assert found.std == pytest.approx(actions.std(), rel=1e-12)
    assert (summary.episodes, summary.steps, summary.shortest, summary.longest) == (
        2,
        1600,
        700,
        900,
    )
    assert summary.hours == pytest.approx(1600 / 20 / 3600)
    files = [f for f in (tmp_path / "set").rglob("*") if f.is_file()]
    assert summary.bytes == sum(f.stat().st_size for f in files)
    assert json.loads(json.dumps(summary.to_json()))["keys"]["action"]["unit"] == "rad"


def test_a_set_without_episodes_is_empty_not_damaged(tmp_path):
    DemonstrationWriter.create(tmp_path / "set", **SETTINGS).close()
    assert [str(p) for p in validate(tmp_path / "set")] == [
        "note: meta/episode_ends: no episode is committed"
    ]
    assert json.dumps(info(tmp_path / "set").to_json(), allow_nan=False)
    with pytest.warns(UserWarning, match="no episode"):
        assert load(tmp_path / "set").n_episodes == 0
