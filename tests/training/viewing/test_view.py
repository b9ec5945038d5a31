"""What `view` writes, from a set to a page."""

import json
import re
import shutil
import sys
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from bridle import cli
from bridle.training.demonstrations import DemonstrationError, DemonstrationWriter
from bridle.training.demonstrations.storage import StoredSet
from bridle.training.exceptions import TrainingError
from bridle.training.viewing import ViewResult, view
from bridle.training.viewing.palette import INTERVENTION, pale, phase_colours, rgb
from bridle.training.viewing.plots import columns_for
from tests.training.viewing.sets import (
    PHASES,
    arm_episode,
    arm_keys,
    record_arm,
    record_foreign,
    record_slim,
)

COLOURS = phase_colours(range(4))


def colours_of(picture):
    image = Image.open(picture).convert("RGB")
    return {colour for _, colour in image.getcolors(image.width * image.height)}


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    return record_arm(tmp_path_factory.mktemp("sets") / "arm")


@pytest.fixture(scope="module")
def arm_view(arm, tmp_path_factory):
    return view(arm, out=tmp_path_factory.mktemp("arm-view"))


@pytest.fixture(scope="module")
def single_view(arm, tmp_path_factory):
    return view(arm, out=tmp_path_factory.mktemp("single-view"), episodes="1")


@pytest.fixture(scope="module")
def slim(tmp_path_factory):
    return record_slim(tmp_path_factory.mktemp("sets") / "slim")


@pytest.fixture(scope="module")
def camera_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "cam"
    return record_arm(path, (20, 1, 30), rate=100.0, cameras=("camera_front", "camera_wrist"))


@pytest.fixture(scope="module")
def camera_view(camera_set, tmp_path_factory):
    return view(camera_set, out=tmp_path_factory.mktemp("cam-view"), rerun=has_rerun())


def has_rerun():
    try:
        import rerun  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def folder_of(result):
    return Path(result.index).parent


def test_a_page_shows_every_file_and_nothing_from_elsewhere(arm_view):
    folder = folder_of(arm_view)
    page = Path(arm_view.index).read_text()
    assert {file.name for file in folder.iterdir()} == set(arm_view.files)
    shown = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert shown == set(arm_view.files) - {"index.html"}
    assert "://" not in page


def test_text_of_the_set_is_escaped_in_the_page(arm_view):
    page = Path(arm_view.index).read_text()
    assert "<b>" not in page
    assert "above &lt;b&gt;it&lt;/b&gt;" in page
    assert "lower &amp; $close$" in page


def test_the_schematic_sheet_has_every_phase_in_its_colour(arm_view):
    sheet = folder_of(arm_view) / "sheet.png"
    assert {rgb(colour) for colour in COLOURS.values()} <= colours_of(sheet)
    width, height = Image.open(sheet).size
    assert width >= 1000
    assert height >= 500


def test_phases_keep_their_colours_whichever_episodes_are_chosen(single_view):
    sheet = colours_of(folder_of(single_view) / "sheet.png")
    assert {rgb(colour) for colour in COLOURS.values()} <= sheet


def test_every_key_has_a_plot_of_every_channel(arm_view):
    plots = {file[8:-4] for file in arm_view.files if file.startswith("plot-")}
    assert plots == set(arm_keys())
    width, height = Image.open(folder_of(arm_view) / "plot-00-action.png").size
    assert width == 1430
    assert height > 4 * 150  # seven channels in two columns
    assert [columns_for(n) for n in (1, 2, 8, 9)] == [1, 2, 2, 3]


def test_phases_lie_behind_the_channels_of_a_single_episode_only(arm_view, single_view):
    shade = {rgb(pale(colour, 0.68)) for colour in COLOURS.values()}
    assert shade <= colours_of(folder_of(single_view) / "plot-00-action.png")
    assert not shade & colours_of(folder_of(arm_view) / "plot-00-action.png")


def test_what_a_person_chose_is_marked(arm_view):
    folder = folder_of(arm_view)
    for name in ("sheet.png", "plot-00-action.png", "plot-02-instruction_id.png"):
        assert rgb(INTERVENTION) in colours_of(folder / name), name


def test_the_video_has_every_step_and_a_moment_at_the_end_of_each_episode(arm_view):
    video = imageio.get_reader(folder_of(arm_view) / "episodes.mp4")
    about = video.get_meta_data()
    assert about["fps"] == 20
    width, height = about["size"]
    assert width % 2 == height % 2 == 0
    assert video.count_frames() == arm_view.frames == 40 + 30 + 50 + 3 * 10
    first, later = (video.get_data(i).astype(int) for i in (0, 30))
    assert np.abs(first - later).max() > 100


def test_the_video_keeps_the_pace_of_fast_sets(camera_view):
    video = imageio.get_reader(folder_of(camera_view) / "episodes.mp4")
    # 100 steps per second: every fourth step, 25 frames per second.
    assert video.get_meta_data()["fps"] == 25
    assert video.count_frames() == 5 + 1 + 8 + 3 * round(0.5 * 25)


def test_the_video_shows_the_pictures(camera_view):
    video = imageio.get_reader(folder_of(camera_view) / "episodes.mp4")
    frame = video.get_data(0).astype(int)
    red = (abs(frame - (220, 40, 40)) < 40).all(axis=2)
    assert red.sum() > 2 * 50 * 50  # a third of two pictures 380 pixels high


def test_the_camera_sheet_shows_the_frames(camera_view):
    sheet = np.asarray(Image.open(folder_of(camera_view) / "sheet.png").convert("RGB"))
    # The square in 8 + 1 + 8 frames of two cameras, about 37 x 37 pixels each.
    red = (abs(sheet.astype(int) - (220, 40, 40)) < 12).all(axis=2).sum()
    assert 0.7 < red / (2 * 17 * 37**2) < 1.1


def test_success_and_findings_are_told(arm_view):
    assert not any("succeed" in finding.text for finding in arm_view.findings)
    constant = [f.text for f in arm_view.findings if "throughout" in f.text]
    assert any("tcp_pose R00 is 1, " in text for text in constant)


def test_a_zip_looks_like_its_folder(slim, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "slim"), "zip", slim)
    for path, out in ((archive, "zip"), (slim, "folder")):
        view(path, out=tmp_path / out)
    for name in ("sheet.png", "summary.png"):
        one, other = (np.asarray(Image.open(tmp_path / out / name)) for out in ("zip", "folder"))
        np.testing.assert_array_equal(one, other)


def test_big_sets_are_looked_at_in_part_and_only_that_is_read(tmp_path, monkeypatch):
    path = record_slim(tmp_path / "many", lengths=[5] * 40)
    spans = []
    read = StoredSet.read

    def spied(self, key, start, stop):
        spans.append((key, start, stop))
        return read(self, key, start, stop)

    monkeypatch.setattr(StoredSet, "read", spied)
    result = view(path, out=tmp_path / "v")
    assert result.n_episodes == 40
    assert len(result.episodes) == 12
    assert (result.episodes[0], result.episodes[-1]) == (0, 39)
    assert set(np.diff(result.episodes)) <= {3, 4}
    assert len(result.episodes_in_video) == 4
    assert "12 of them shown, evenly chosen" in Path(result.index).read_text()
    wanted = {row for e in result.episodes for row in range(5 * e, 5 * e + 5)}
    touched = {row for key, a, b in spans if key == "action" for row in range(a, b)}
    assert touched == wanted


def test_an_episode_that_is_asked_for_is_shown(slim, tmp_path):
    result = view(slim, out=tmp_path / "v", episodes="2,0")
    assert result.episodes == result.episodes_in_video == (2, 0)
    assert "2 of them shown, as asked" in Path(result.index).read_text()


def test_the_folder_is_written_again_but_others_are_left_alone(slim, tmp_path):
    out = tmp_path / "v"
    view(slim, out=out, episodes="0")
    (out / "plot-77-gone.png").write_bytes(b"")
    view(slim, out=out, episodes="1")
    assert not (out / "plot-77-gone.png").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("mine")
    with pytest.raises(TrainingError, match="holds something other"):
        view(slim, out=other)
    assert [f.name for f in other.iterdir()] == ["index.html"]
    with pytest.raises(TrainingError, match="lies in the set"):
        view(slim, out=slim / "pictures")


def test_pictures_lie_beside_the_set_unless_told_otherwise(tmp_path):
    path = record_slim(tmp_path / "set", lengths=(1,))
    assert Path(view(path).index) == tmp_path / "set-view" / "index.html"


def test_damage_is_refused_before_anything_is_written(tmp_path):
    path = record_slim(tmp_path / "torn")
    (path / "data" / "action" / "0.0").unlink()
    with pytest.raises(DemonstrationError, match=r"data/action/0\.0"):
        view(path, out=tmp_path / "v")
    assert not (tmp_path / "v").exists()


def test_a_set_without_episodes_is_nothing_to_see(tmp_path):
    settings = {"robot": "r", "task": "t", "control_rate": 1.0, "instructions": PHASES}
    with DemonstrationWriter.create(tmp_path / "set", keys=arm_keys(), **settings):
        pass
    with pytest.raises(DemonstrationError, match="no episode"):
        view(tmp_path / "set")


def test_a_set_of_others_is_shown_in_steps(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 2)).cumsum(axis=0)
    path = record_foreign(
        tmp_path / "pusht",
        [10, 11, 30],
        action=rows,
        img=rng.random((30, 3, 16, 16), np.float32),
        keypoint=rng.random((30, 2, 2), np.float32),
    )
    result = view(path, out=tmp_path / "v")
    assert "not written by Bridle" in Path(result.index).read_text()
    assert imageio.get_reader(tmp_path / "v" / "episodes.mp4").count_frames() == 30 + 3 * 10


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_set_is_too_odd_to_look_at(tmp_path, value):
    n = 6
    path = record_foreign(
        tmp_path / "odd",
        [1, 6],
        camera_line=np.zeros((n, 1, 90, 3), np.uint8),
        camera_dot=np.full((n, 1, 1, 1), value),
        depth_a=np.full((n, 9, 9), value),
        instruction_id=np.full((n, 1), value),
        intervention=np.full(n, value),
        reward=np.full(n, value),
        tcp_pose=np.full((n, 9), value),
        huge=1e300 * np.arange(-3, 3),
    )
    result = view(path, out=tmp_path / "v")
    told = {finding.key for finding in result.findings if "not finite" in finding.text}
    assert {"camera_dot", "depth_a", "reward", "tcp_pose"} <= told
    assert not told & {"camera_line", "huge"}


def test_the_command_says_where_the_page_is(slim, tmp_path, capsys):
    report = tmp_path / "view.json"
    out = tmp_path / "v"
    arguments = ["data", "view", str(slim), "--episodes", "0-1", "--out", str(out)]
    assert cli.main([*arguments, "--json", str(report)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "2 of 3 episodes (as asked)"
    assert said[-1] == str(out / "index.html")
    assert json.loads(report.read_text())["episodes"] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["{slim}", "--episodes", "3"], "expected 0 to 2"),
        (["{slim}", "--episodes", "1-"], "expected numbers like 0,3,7-9"),
        (["{slim}", "--spawn"], "--rerun"),
    ],
)
def test_the_command_complains_in_one_line(slim, capsys, arguments, complaint):
    assert cli.main(["data", "view", *(a.format(slim=slim) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert complaint in captured.err


def test_without_rerun_one_line_says_what_to_install(slim, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rerun", None)
    out = tmp_path / "v"
    assert cli.main(["data", "view", str(slim), "--rerun", "--out", str(out)]) == 2
    assert "pip install bridle[viewer]" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("display", ["", ":0"])
def test_the_viewer_is_opened_only_where_there_is_a_display(tmp_path, monkeypatch, capsys, display):
    started = []
    made = ViewResult("set", str(tmp_path / "index.html"), 1, (0,), (0,), 1, (), (), (), 0.0)
    monkeypatch.setattr("bridle.commands.data.view.view", lambda *_, **__: made)
    monkeypatch.setattr("subprocess.Popen", lambda command, **_: started.append(command))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert cli.main(["data", "view", "set", "--rerun", "--spawn"]) == 0
    recording = str(tmp_path / "episodes.rrd")
    assert [command[-1] for command in started] == ([recording] if display else [])
    assert ("no display" in capsys.readouterr().err) is not bool(display)


@pytest.mark.skipif(not has_rerun(), reason="rerun is not installed")
def test_the_recording_can_be_read_again(camera_set, camera_view):
    from rerun.chunk import RrdReader

    reader = RrdReader(folder_of(camera_view) / "episodes.rrd")
    assert reader.blueprints()
    chunks = reader.stream().to_chunks()
    rows = {}
    for chunk in chunks:
        rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    for episode, length in ((0, 20), (1, 1), (2, 30)):
        for entity in ("action/gripper", "reward", "camera_front", "camera_wrist", "world/tool"):
            assert rows[f"/episode_{episode}/{entity}"] == length
    assert rows["/episode_0/phase"] == 3
    gripper = next(c for c in chunks if c.entity_path == "/episode_2/action/gripper")
    values = gripper.to_record_batch().column("Scalars:scalars").to_pylist()
    np.testing.assert_allclose(np.ravel(values), arm_episode(30, 2)["action"][:, 6])
