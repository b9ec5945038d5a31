import json
from dataclasses import replace
from pathlib import Path

import pytest

from bridle.training.collection import CollectConfig
from bridle.training.config import TrainConfig
from bridle.training.exceptions import TrainingError
from bridle.training.reproduction import (
    cells_of,
    make_results,
    read_result,
    read_specification,
)
from bridle.training.results_page import BEGIN, END, draw_page
from bridle.training.structure import assigned, build

SMALL = """
episodes: 2
sets:
  reach: {task: reach, episodes: 4}
policies:
  flow:
    train: {steps: 3, batch_size: 8, set: [network.width=8, network.blocks=1]}
    rows: {"flow, 1 step": {sampling_steps: 1}, "flow, 2 steps": {sampling_steps: 2}}
  odd:
    train: {steps: 3, generator: none}
    rows: {odd: {}}
tables:
  small: {title: Small, sets: [reach], policies: [flow, odd], seeds: {reach: [0]}}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return read_specification(path)


def test_every_cell_that_is_shipped_can_be_made():
    specification = read_specification()
    cells = cells_of(specification)
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        CollectConfig(out=Path("set"), **cell.collect)
        options = dict(cell.train)
        chosen = {p: options.get(p, getattr(TrainConfig, p)) for p in ("network", "generator")}
        given = assigned([s for s in options.get("set", ()) if s.split(".")[0] in chosen], chosen)
        for part, kind in chosen.items():
            build(part, kind, given[part])
        TrainConfig(data=Path("set"), out=Path("run"), **options | {"set": ()})


def test_cells_are_made_by_the_commands_and_not_made_twice(small, tmp_path):
    cells, failures, reported = cells_of(small), [], []
    work, results = tmp_path / "work", tmp_path / "results"

    def make():
        return list(
            make_results(
                cells, work, results, jobs=2, report=lambda cell, result: reported.append(cell.name)
            )
        )

    failures = make()
    # The other one failed, and says why.
    assert len(failures) == 1
    assert failures[0].startswith("small/reach-odd-0: ")
    assert "no generator 'none'" in failures[0]
    assert reported == ["small/reach-flow-0"]
    result = read_result(cells[0], results)
    assert set(result["rows"]) == {"flow, 1 step", "flow, 2 steps"}
    for evaluation in result["rows"].values():
        assert evaluation["episodes"] == 2
        assert len(evaluation["failed_seeds"]) == 2 - evaluation["successes"]
    assert result["train_cpu_seconds"] > 0
    assert "--seed 0" in result["commands"]["train"]
    assert str(tmp_path) not in json.dumps(result)

    before = (results / "small" / "reach-flow-0.json").stat().st_mtime_ns
    make()
    assert reported == ["small/reach-flow-0"]
    assert (results / "small" / "reach-flow-0.json").stat().st_mtime_ns == before
    # Other settings are another result.
    assert read_result(replace(cells[0], seed=1), results) is None
    assert read_result(replace(cells[0], episodes=3), results) is None

    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    draw_page(small, results, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    rate = 50 * result["rows"]["flow, 1 step"]["successes"]
    assert f"| flow, 1 step | **{rate:.3g}**" in text
    assert "| odd | not made |" in text
    assert (tmp_path / "pictures" / "results-small.png").stat().st_size > 1000


def test_only_takes_patterns_and_says_which_match_nothing(small):
    assert [c.name for c in cells_of(small, ["small/*-odd-*"])] == ["small/reach-odd-0"]
    with pytest.raises(TrainingError, match="no cell is called 'large"):
        cells_of(small, ["large/*"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sets: [reach]", "sets: [push]", "table small: there is no set 'push'"),
        ("policies: [flow, odd]", "policies: [fow]", "table small: there is no policy 'fow'"),
        ("seeds: {reach: [0]}", "seeds: {push: [0]}", "there is no set 'push'"),
        ("episodes: 2\n", "episodes: many\n", "episodes"),
        ("title: Small", "titel: Small", "titel"),
        ("tables:", "tables: [", "small.yaml"),
    ],
)
def test_a_wrong_specification_says_where(tmp_path, old, new, message):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(TrainingError, match=message):
        read_specification(path)


def test_a_damaged_result_and_a_page_without_marks_are_named(small, tmp_path):
    cell = cells_of(small)[0]
    path = tmp_path / f"{cell.name}.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(TrainingError, match=r"reach-flow-0\.json is no result"):
        read_result(cell, tmp_path)
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(TrainingError, match="must mark"):
        draw_page(small, tmp_path, page)
