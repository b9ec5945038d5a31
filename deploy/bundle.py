"""The bundle: the folder that travels to the robot.

    bundle/
      manifest.json     what it is, what it takes and gives, and the SHA-256 of every other file
      encoder.onnx      observations -> condition, offset, scale
      step.onnx         one step of the generator, no control flow (GPU)
      table.npz         the rows that step.onnx is walked along, one table per number of steps
      policy.onnx       the whole sampler as one graph with a Loop (portable)
      robot.xml         kinematics of the arm (MJCF)
      card.md           where the policy comes from and how well it does

Nothing is unpickled, and a bundle is read once: what was hashed is what is used.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dacite

from bridle.deploy.exceptions import BundleError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
ENCODER, STEP, TABLE, POLICY = "encoder.onnx", "step.onnx", "table.npz", "policy.onnx"
ROBOT, CARD = "robot.xml", "card.md"
REQUIRED = (ENCODER, STEP, TABLE, POLICY, ROBOT, CARD)
MAX_FILE_BYTES = 2**31
"""Largest file read into memory (the limit of a protobuf message)."""

_LARGEST = {
    "n_obs_steps": 64,
    "horizon": 1024,
    "n_action_steps": 1024,
    "first_action": 1024,
    "n_steps": 1000,
}
_MAX_CHANNELS = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; -1 in `shape` is the batch."""

    name: str
    shape: list[int]
    dtype: str
    unit: str


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself."""

    format_version: int
    robot: str
    task: str
    joint_names: list[str]
    """Wire order of the chunk's columns, absolute positions [rad]."""
    control_rate: float
    """Actions per second [Hz]."""
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    first_action: int
    """Row of the chunk that belongs to the newest observation."""
    n_steps: int
    """Steps of the sampler unless asked otherwise."""
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    instructions: list[str]
    dataset_digest: str
    weights_digest: str
    versions: dict[str, str]
    files: dict[str, str]
    """File name -> SHA-256, every file but the manifest."""

    def __post_init__(self) -> None:
        for name, top in _LARGEST.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= top:
                raise BundleError(f"{name} must be an integer in 0..{top}, got {value!r}")
        if self.n_obs_steps < 1 or self.n_steps < 1 or self.n_action_steps < 1:
            raise BundleError("n_obs_steps, n_action_steps and n_steps must be at least 1")
        if self.first_action + self.n_action_steps > self.horizon:
            raise BundleError(
                f"horizons do not fit together: horizon {self.horizon}, first_action "
                f"{self.first_action}, n_action_steps {self.n_action_steps}"
            )
        if type(self.control_rate) is not float or not 0.1 <= self.control_rate <= 1000:
            raise BundleError(f"control_rate must lie in 0.1..1000 Hz, got {self.control_rate!r}")
        for name in ("robot", "task"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise BundleError(f"{name} must be a name, got {getattr(self, name)[:40]!r}")
        if not self.joint_names or len(set(self.joint_names)) != len(self.joint_names):
            raise BundleError(f"joint_names must be distinct, got {self.joint_names}")
        names = [spec.name for spec in self.inputs]
        if not names or len(set(names)) != len(names):
            raise BundleError(f"inputs must be distinct observations, got {names}")
        for spec in self.inputs:
            fits = len(spec.shape) == 3 and spec.shape[:2] == [-1, self.n_obs_steps]
            if not (fits and 1 <= spec.shape[2] <= _MAX_CHANNELS and spec.dtype == "float32"):
                raise BundleError(
                    f"input {spec.name} must be float32 [-1, {self.n_obs_steps}, channels], "
                    f"got {spec.dtype} {spec.shape}"
                )
        chunk = [-1, self.horizon, len(self.joint_names)]
        outputs = {spec.name: spec.shape for spec in self.outputs}
        if outputs != {"chunk": chunk, "score": [-1]}:
            raise BundleError(f"outputs must be chunk {chunk} and score [-1], got {outputs}")

    @property
    def follows_instructions(self) -> bool:
        """Whether the policy takes an instruction."""
        return any(spec.name == "instruction" for spec in self.inputs)

    @property
    def dt(self) -> float:
        """Time between actions of a chunk [s]."""
        return 1 / self.control_rate


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory."""

    path: Path
    manifest: Manifest
    contents: Mapping[str, bytes]
    """File name -> the bytes that were hashed."""


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def write_bundle(
    path: Path, contents: Mapping[str, bytes], description: Mapping[str, Any]
) -> Manifest:
    """Write a bundle next to its place and move it there whole.

    Args:
        path: folder to create; an existing bundle is replaced, anything else is refused.
        contents: file name -> bytes, all of `REQUIRED`.
        description: the manifest's fields but `format_version` and `files`.

    Raises:
        BundleError: `path` holds something that is not a bundle, or a file is missing.
    """
    missing = [name for name in REQUIRED if name not in contents]
    if missing:
        raise BundleError(f"a bundle needs {', '.join(missing)}")
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or _is_bundle(path))):
        raise BundleError(f"{path} exists and is not a bundle; choose another folder")
    files = {name: sha256(data) for name, data in sorted(contents.items())}
    manifest = Manifest(format_version=FORMAT_VERSION, files=files, **description)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    for name, data in contents.items():
        (scratch / name).write_bytes(data)
    (scratch / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    scratch.chmod(0o755)
    if path.exists():
        shutil.rmtree(path)
    scratch.rename(path)
    return manifest


def _is_bundle(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except BundleError:
        return False
    return True


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{folder}: {name} is missing or is not a plain file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BundleError(f"{folder}: {name} is larger than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()


def read_manifest(folder: Path) -> Manifest:
    """Parse and check `manifest.json` alone.

    Raises:
        BundleError: it is missing, unreadable, of a newer format, or does not fit the schema.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder")
    where = f"{folder}: {MANIFEST}"
    try:
        content = json.loads(_read(folder, MANIFEST).decode())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where} is not JSON: {error}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is not int:
        raise BundleError(f"{where} has no format_version")
    if version != FORMAT_VERSION:
        advice = "update Bridle" if version > FORMAT_VERSION else "export the policy again"
        raise BundleError(
            f"{where} has format version {version}, this Bridle reads {FORMAT_VERSION}; {advice}"
        )
    try:
        manifest = dacite.from_dict(Manifest, content, dacite.Config(strict=True))
    except BundleError as error:
        raise BundleError(f"{where}: {error}") from error
    except (dacite.DaciteError, TypeError, AttributeError) as error:
        raise BundleError(f"{where}: {error}") from error
    for name, digest in manifest.files.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or name == MANIFEST:
            raise BundleError(f"{where} lists a file outside the bundle: {name!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise BundleError(f"{where} has no SHA-256 for {name}")
    return manifest


def load_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check every byte of it.

    Raises:
        BundleError: a file is missing, altered or not listed, or the manifest is not readable.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    missing = [name for name in REQUIRED if name not in manifest.files]
    if missing:
        raise BundleError(f"{folder}: {MANIFEST} does not list {', '.join(missing)}")
    present = {p.name for p in folder.iterdir()}
    unlisted = sorted(present - manifest.files.keys() - {MANIFEST})
    if unlisted:
        raise BundleError(f"{folder}: {unlisted[0]} is not listed in {MANIFEST}")
    contents = {}
    for name, expected in manifest.files.items():
        data = _read(folder, name)
        found = sha256(data)
        if found != expected:
            raise BundleError(
                f"{folder}: {name} was altered: SHA-256 {found[:12]}…, expected {expected[:12]}…"
            )
        contents[name] = data
    return Bundle(folder, manifest, contents)
