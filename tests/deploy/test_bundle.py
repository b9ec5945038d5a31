import json
import shutil
from dataclasses import fields

import pytest

from bridle.deploy.bundle import FORMAT_VERSION, MANIFEST, load_bundle, write_bundle
from bridle.deploy.exceptions import BundleError


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def edit_manifest(folder, **changes):
    content = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_bundle_is_read_back_whole(bundle, exported):
    assert bundle.manifest.joint_names[0] == "shoulder_pan_joint"
    assert set(bundle.contents) == {p.name for p in exported.iterdir()} - {MANIFEST}


def test_one_changed_byte_in_any_file_is_found_and_named(exported, tmp_path):
    for path in sorted(exported.iterdir()):
        if path.name == MANIFEST:
            continue
        folder = shutil.copytree(exported, tmp_path / path.stem / path.name)
        data = bytearray((folder / path.name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / path.name).write_bytes(data)
        with pytest.raises(BundleError, match=f"{path.name} was altered"):
            load_bundle(folder)


def test_a_missing_file_is_named(exported, tmp_path):
    for path in sorted(exported.iterdir()):
        folder = shutil.copytree(exported, tmp_path / f"without-{path.name}")
        (folder / path.name).unlink()
        with pytest.raises(BundleError, match=f"{path.name} is missing"):
            load_bundle(folder)


def test_an_unlisted_file_is_refused(copy):
    (copy / "extra.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"'extra.onnx' is not listed"):
        load_bundle(copy)


def test_a_folder_inside_is_refused(copy):
    (copy / "more").mkdir()
    with pytest.raises(BundleError, match="'more' is not listed"):
        load_bundle(copy)


def test_a_link_is_refused(copy, tmp_path):
    target = tmp_path / "elsewhere"
    (copy / "card.md").rename(target)
    (copy / "card.md").symlink_to(target)
    with pytest.raises(BundleError, match=r"card.md is missing or is not a plain file"):
        load_bundle(copy)


def test_an_older_format_is_refused_with_advice(copy):
    edit_manifest(copy, format_version=FORMAT_VERSION - 1)
    with pytest.raises(BundleError, match=r"version 2, this Bridle reads 3; export the policy"):
        load_bundle(copy)


def test_a_newer_format_is_refused_with_advice(copy):
    edit_manifest(copy, format_version=FORMAT_VERSION + 1)
    with pytest.raises(
        BundleError,
        match=rf"version {FORMAT_VERSION + 1}, this Bridle reads {FORMAT_VERSION}; update",
    ):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": "1"}, "has no format_version"),
        ({"horizon": "16"}, "horizon"),
        ({"horizon": 4}, "horizons do not fit together"),
        ({"surprise": 1}, "surprise"),
        ({"control_rate": -1.0}, "control_rate must lie in"),
        ({"control_rate": True}, "control_rate"),
        ({"horizon": 10**12}, "horizon must be an integer in 0..1024"),
        ({"n_obs_steps": True}, "n_obs_steps"),
        ({"robot": "../../etc/passwd"}, "robot must be a name"),
        ({"task": "[/red]"}, "task must be a name"),
        ({"outputs": []}, "outputs must be chunk"),
        ({"precision": "int8"}, "precision must be float32 or float16, got 'int8'"),
        ({"columns": ["t", "t"]}, "columns must be distinct"),
        ({"columns": ["t", "\x1b[2J"]}, "cannot be shown|columns must be names"),
        ({"columns": ["t"]}, r"table\.npz has 2 columns, manifest\.json names 1"),
        ({"inputs": []}, "inputs must be distinct"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "outside the bundle"),
        ({"files": {"card.md": "short"}}, "no SHA-256 for card.md"),
        ({"files": {}}, "does not list"),
    ],
)
def test_a_manifest_that_does_not_fit_the_schema_is_refused(copy, changes, message):
    edit_manifest(copy, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe", "[" * 100_000])
def test_a_manifest_that_is_no_manifest_is_refused(copy, text):
    (copy / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(copy)


def test_nothing_but_a_bundle_is_overwritten(bundle, tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(tmp_path, bundle.contents, {})
    assert (tmp_path / "precious").read_text() == "data"


def test_a_bundle_that_could_not_be_read_again_is_not_written(bundle, tmp_path):
    description = {f.name: getattr(bundle.manifest, f.name) for f in fields(bundle.manifest)}
    del description["format_version"], description["files"]
    description["instructions"] = ["x" * 2000]
    with pytest.raises(BundleError, match="more than 1000 characters"):
        write_bundle(tmp_path / "b", bundle.contents, description)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_a_bundle_may_not_hold_is_not_written(bundle, tmp_path):
    contents = {**bundle.contents, "step.onnx": bundle.contents["policy.onnx"]}
    with pytest.raises(BundleError, match=r"step.onnx is refused: it has more loops"):
        write_bundle(tmp_path / "b", contents, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BundleError, match="is not a folder"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("policy.onnx", lambda b: b["encoder.onnx"], "policy.onnx takes .* expected"),
        ("policy.onnx", lambda b: b"nonsense", "policy.onnx is refused: it has a part"),
        ("policy.onnx", lambda b: b["policy.onnx"][:-9], "policy.onnx is refused: it is cut off"),
        ("table.npz", lambda b: b"nonsense", "table.npz is refused: it cannot be read"),
        ("robot.xml", lambda b: b"<mujoco>", "robot.xml is refused: .* does not compile"),
        ("robot.xml", lambda b: b'<mujoco><include file="/etc/passwd"/></mujoco>', "other files"),
    ],
)
def test_contents_that_do_not_fit_are_refused_even_with_right_hashes(
    bundle, copy, name, content, message
):
    from bridle.deploy.bundle import sha256
    from bridle.deploy.runtime import Runtime
    from bridle.deploy.serving import PolicyServer
    from bridle.deploy.steering import SteeringConfig

    data = content(bundle.contents)
    (copy / name).write_bytes(data)
    edit_manifest(copy, files=bundle.manifest.files | {name: sha256(data)})

    def serve():
        changed = load_bundle(copy)
        PolicyServer(changed, Runtime(changed), seed=0, steering=SteeringConfig())

    with pytest.raises(ValueError, match=message):
        serve()
