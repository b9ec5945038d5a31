"""Hostile bundles are refused in one line, in little memory, and nothing beside them is touched."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from bridle.deploy import signature

from .hostile import ATTACKS, HONEST, RUN, graphs

ROOT = Path(__file__).parents[2]
LARGEST_GROWTH = 256 * 2**20
"""Of the reader's memory by one bundle of half a megabyte [bytes]."""
LARGEST_CONFINED = 3 * 2**29
"""Memory of the process that runs a bundle, Python and its libraries and all [bytes]."""


def snapshot(folder: Path) -> dict[str, tuple[str, float, int]]:
    return {
        path.name: (
            sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime,
            path.stat().st_mode,
        )
        for path in folder.iterdir()
        if path.name in ("precious", "owner", "owner.pub", "stranger", "stranger.pub")
    }


def read_all(exported: Path, work: Path, cases: list[tuple[int, int]]) -> list[dict]:
    """What a reader in a process of its own says to each case."""
    outside = work / "outside"
    outside.mkdir()
    (outside / "precious").write_text("not yours")
    for name in ("owner", "stranger"):
        signature.new_key(outside / name)
    before = snapshot(outside)
    here = work / "here"
    here.mkdir()
    reader = subprocess.run(
        [sys.executable, "-m", "tests.deploy.hostile.reading", exported, work, json.dumps(cases)],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert reader.returncode == 0, reader.stderr[-2000:]
    assert snapshot(outside) == before
    assert list(here.iterdir()) == []
    assert {path.name for path in work.iterdir()} == {"outside", "here"}
    return [json.loads(line) for line in reader.stdout.splitlines()]


def assert_refused(results: list[dict]) -> None:
    assert [r for r in results if r["error"] != "BundleError"] == []
    assert [r for r in results if "\n" in r["said"] or len(r["said"]) > 1000] == []
    assert [r for r in results if r["grown"] > LARGEST_GROWTH] == []
    assert max(r["confined"] for r in results) <= LARGEST_CONFINED


def test_what_is_honest_is_accepted_by_the_same_reader(exported, tmp_path):
    results = read_all(exported, tmp_path, [(-1 - i, 0) for i in range(len(HONEST))])
    assert [r["said"] for r in results] == ["accepted"] * len(HONEST)


def test_every_attack_that_looking_shows_is_refused(exported, tmp_path):
    cases = [(i, 0) for i, attack in enumerate(ATTACKS) if attack not in RUN]
    results = read_all(exported, tmp_path, cases)
    assert len(results) == len(cases)
    assert_refused(results)


def test_attacks_that_only_running_shows_are_refused(exported, tmp_path):
    attacks = (graphs.doubling, graphs.growing_loop, graphs.disagreement, graphs.not_finite)
    results = read_all(exported, tmp_path, [(ATTACKS.index(a), 0) for a in attacks])
    assert len(results) == len(attacks)
    assert_refused(results)


@pytest.mark.slow
def test_three_hundred_hostile_bundles_are_refused(exported, tmp_path):
    cases = [(i % len(ATTACKS), 1 + i // len(ATTACKS)) for i in range(300)]
    results = read_all(exported, tmp_path, cases)
    assert len(results) == 300
    assert_refused(results)
