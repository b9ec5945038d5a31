"""The bundle: the folder that travels to the robot.

    bundle/
      manifest.json     what it is, what it takes and gives, and the SHA-256 of every other file
      encoder.onnx      observations -> condition, offset, scale
      step.onnx         one step of the generator, no control flow (GPU)
      table.npz         the rows that step.onnx is walked along, one table per number of steps
      policy.onnx       the whole sampler as one graph with a Loop (portable)
      robot.xml         kinematics of the arm (MJCF)
      card.md           where the policy comes from and how well it does
      tokenizer.json    words to numbers, if the policy reads instructions
      guard.json        when the policy counts as lost (`bridle calibrate`), if it is calibrated
      support.npz       the conditions it was trained on, if it is calibrated
      feasibility.onnx  a critic of chunks, what they will touch, if it was learned
      signature.json    who vouches for it (`bridle sign`), if anybody does

Nothing is unpickled, and a bundle is read once: what was hashed is what is used. What a library
will load is inspected first (`inspection`); docs/bundle.md has every field and every limit.
"""

import hashlib
import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bridle.deploy import signature, strict_json
from bridle.deploy.exceptions import BundleError, KinematicsError
from bridle.deploy.familiarity.calibration import Calibration
from bridle.deploy.familiarity.support import Support
from bridle.deploy.inspection import (
    Tables,
    inspect_graph,
    inspect_kinematic_model,
    inspect_tables,
    inspect_tokenizer,
)
from bridle.deploy.reading import Folder, open_folder

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
ENCODER, STEP, TABLE, POLICY = "encoder.onnx", "step.onnx", "table.npz", "policy.onnx"
ROBOT, CARD = "robot.xml", "card.md"
TOKENIZER = "tokenizer.json"
GUARD, SUPPORT = "guard.json", "support.npz"
FEASIBILITY = "feasibility.onnx"
INSTRUCTION = "instruction"
"""The input that holds a sentence."""
COMMITTED, N_COMMITTED = "committed", "n_committed"
"""Inputs of a policy that continues committed actions: these, and how many of them count."""
REQUIRED = (ENCODER, STEP, TABLE, POLICY, ROBOT, CARD)
SIGNATURE = "signature.json"
MAX_GRAPH_BYTES = 2**30
MAX_FILE_BYTES = 2**26
"""Largest file that is no graph."""

_LARGEST = {
    "n_obs_steps": 64,
    "horizon": 1024,
    "n_action_steps": 1024,
    "first_action": 1024,
    "committed": 1024,
    "n_steps": 1000,
    "memory": 4,
}
_MAX_NUMBERS = 10_000_000
"""Of one observation at one instant."""
_MAX_PIXELS = 8192
_DTYPES = ("float32", "uint8", "int64")
PRECISIONS = ("float32", "float16")
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
    committed: int
    """Actions from there on that may be given, which the chunk continues (D): the graphs then also
    take `committed` (B, D, joints) [rad] and `n_committed` (B, 1) int64. 0: they take neither."""
    n_steps: int
    """Steps of the sampler unless asked otherwise."""
    generator: str
    """How noise becomes actions: flow, diffusion, energy, ..."""
    columns: list[str]
    """Names of the columns of the tables: what a row says to a step."""
    precision: str
    """What the networks compute in, one of `PRECISIONS`; what comes in and goes out is float32."""
    memory: int
    """Chunks that a step remembers beside the present one; zeros before the first."""
    tolerance: float | None
    """The walk ends after a step that moves no chunk by as much (root mean square, in normalised
    units); None if it always takes every step, and 0 if it does unless asked otherwise."""
    cameras: dict[str, list[int]]
    """Cameras whose pictures or points are observed -> width and height of the pictures [px]."""
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
        if self.first_action + self.committed >= self.horizon:
            raise BundleError(
                f"committed must leave some of the chunk free: horizon {self.horizon}, "
                f"first_action {self.first_action}, committed {self.committed}"
            )
        if type(self.control_rate) is not float or not 0.1 <= self.control_rate <= 1000:
            raise BundleError(f"control_rate must lie in 0.1..1000 Hz, got {self.control_rate!r}")
        for name in ("robot", "task"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise BundleError(f"{name} must be a name, got {getattr(self, name)[:40]!r}")
        if not self.joint_names or len(set(self.joint_names)) != len(self.joint_names):
            raise BundleError(f"joint_names must be distinct, got {self.joint_names}")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise BundleError(f"columns must be distinct, got {self.columns[:20]}")
        for name in self.columns:
            if not _NAME.fullmatch(name):
                raise BundleError(f"columns must be names, got {name[:40]!r}")
        if self.precision not in PRECISIONS:
            raise BundleError(
                f"precision must be {' or '.join(PRECISIONS)}, got {self.precision[:40]!r}"
            )
        names = [spec.name for spec in self.inputs]
        if not names or len(set(names)) != len(names):
            raise BundleError(f"inputs must be distinct observations, got {names}")
        for spec in self.inputs:
            fits = 3 <= len(spec.shape) <= 6 and spec.shape[:2] == [-1, self.n_obs_steps]
            fits = fits and min(spec.shape[2:]) >= 1 and math.prod(spec.shape[2:]) <= _MAX_NUMBERS
            if not (fits and spec.dtype in _DTYPES):
                raise BundleError(
                    f"input {spec.name} must be [-1, {self.n_obs_steps}, ...] of "
                    f"{', '.join(_DTYPES)}, got {spec.dtype} {spec.shape}"
                )
        if self.follows_instructions and TOKENIZER not in self.files:
            raise BundleError(f"a policy that reads instructions needs {TOKENIZER}")
        chunk = [-1, self.horizon, len(self.joint_names)]
        outputs = {spec.name: spec.shape for spec in self.outputs}
        if outputs != {"chunk": chunk, "scores": [-1, -1]}:
            raise BundleError(f"outputs must be chunk {chunk} and scores [-1, -1], got {outputs}")
        for name, size in self.cameras.items():
            fits = len(size) == 2 and 1 <= min(size) <= max(size) <= _MAX_PIXELS
            if not (_NAME.fullmatch(name) and fits):
                raise BundleError(f"cameras must have a width and a height, got {name}: {size}")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise BundleError(f"tolerance must not be negative, got {self.tolerance}")

    @property
    def sees(self) -> bool:
        """Whether the policy reads pictures or points."""
        return bool(self.cameras) or any(spec.name == "point_cloud" for spec in self.inputs)

    @property
    def follows_instructions(self) -> bool:
        """Whether the policy takes an instruction."""
        return any(spec.name == INSTRUCTION for spec in self.inputs)

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
    digest: str = ""
    """SHA-256 of `manifest.json` as it was read, and so of everything; empty if it was not."""


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
        BundleError: `path` holds something that is not a bundle, or a file is missing or holds
            what `load_bundle` would refuse.
    """
    missing = [name for name in REQUIRED if name not in contents]
    if missing:
        raise BundleError(f"a bundle needs {', '.join(missing)}")
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or _is_bundle(path))):
        raise BundleError(f"{path} exists and is not a bundle; choose another folder")
    tables = inspect(path, contents)
    files = {name: sha256(data) for name, data in sorted(contents.items())}
    manifest = Manifest(format_version=FORMAT_VERSION, files=files, **description)
    text = json.dumps(asdict(manifest), indent=2) + "\n"
    # What could not be read again is not written.
    _check_tables(path, _parse_manifest(text.encode(), path), tables)
    _check_calibration(path, manifest, contents)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    for name, data in contents.items():
        (scratch / name).write_bytes(data)
    (scratch / MANIFEST).write_text(text)
    scratch.chmod(0o755)
    # The old one goes last: whenever this is cut off, one of the two is whole.
    replaced = scratch.with_name(f"{scratch.name}.old")
    if path.exists():
        path.rename(replaced)
    scratch.rename(path)
    if replaced.exists():
        shutil.rmtree(replaced)
    return manifest


def amend_bundle(bundle: Bundle, contents: Mapping[str, bytes]) -> Manifest:
    """Write a bundle again with files added or replaced, and without its signature.

    Args:
        bundle: as it was read.
        contents: file name -> bytes.

    Raises:
        BundleError: a file holds what `load_bundle` would refuse.
    """
    made = ("format_version", "files")
    kept = {f.name: getattr(bundle.manifest, f.name) for f in fields(Manifest)}
    description = {name: value for name, value in kept.items() if name not in made}
    return write_bundle(bundle.path, {**bundle.contents, **contents}, description)


def _is_bundle(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except BundleError:
        return False
    return True


def read_manifest(folder: Path) -> Manifest:
    """Parse and check `manifest.json` alone.

    Raises:
        BundleError: it is missing, unreadable, of a newer format, or does not fit the schema.
    """
    with open_folder(folder) as opened:
        return _parse_manifest(opened.read(MANIFEST, strict_json.MAX_BYTES), folder)


def _parse_manifest(data: bytes, folder: Path) -> Manifest:
    where = f"{folder}: {MANIFEST}"
    try:
        content = strict_json.parse(data)
    except ValueError as error:
        raise BundleError(f"{where} cannot be read: {error}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is not int:
        raise BundleError(f"{where} has no format_version")
    if version != FORMAT_VERSION:
        advice = "update Bridle" if version > FORMAT_VERSION else "export the policy again"
        raise BundleError(
            f"{where} has format version {version}, this Bridle reads {FORMAT_VERSION}; {advice}"
        )
    try:
        manifest = strict_json.build(Manifest, content)
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from error
    for name, digest in manifest.files.items():
        plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name)
        if not plain or name in (MANIFEST, SIGNATURE):
            raise BundleError(f"{where} lists a file outside the bundle: {name!r}")
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise BundleError(f"{where} has no SHA-256 for {name}")
    return manifest


def load_bundle(folder: Path | str, key: Path | None = None) -> Bundle:
    """Read a bundle and check every byte of it.

    Args:
        folder: the bundle.
        key: file of a public key (PEM); its owner must have signed the bundle.

    Raises:
        BundleError: a file is missing, altered, not listed, or holds what a bundle may not hold;
            the manifest is not readable; or the signature is missing or another's.
        SigningError: the key cannot be used.
    """
    folder = Path(folder)
    with open_folder(folder) as opened:
        data = opened.read(MANIFEST, strict_json.MAX_BYTES)
        present = opened.names()
        if key is not None:
            _check_signature(opened, data, key, present)
        manifest = _parse_manifest(data, folder)
        missing = [name for name in REQUIRED if name not in manifest.files]
        if missing:
            raise BundleError(f"{folder}: {MANIFEST} does not list {', '.join(missing)}")
        unlisted = sorted(present - manifest.files.keys() - {MANIFEST, SIGNATURE})
        if unlisted:
            raise BundleError(f"{folder}: {unlisted[0][:40]!a} is not listed in {MANIFEST}")
        contents = {name: _read(opened, name, digest) for name, digest in manifest.files.items()}
    _check_tables(folder, manifest, inspect(folder, contents))
    _check_calibration(folder, manifest, contents)
    return Bundle(folder, manifest, contents, sha256(data))


def sign_bundle(folder: Path, key: Path) -> str:
    """Write `signature.json` into a bundle that is whole; an earlier one is replaced.

    Args:
        folder: the bundle.
        key: file of an Ed25519 private key (PEM).

    Returns:
        The id of the key.

    Raises:
        BundleError: the bundle is refused.
        SigningError: the key cannot be used.
    """
    bundle = load_bundle(folder)
    with open_folder(folder) as opened:
        data = opened.read(MANIFEST, strict_json.MAX_BYTES)
    if sha256(data) != bundle.digest:
        raise BundleError(f"{folder} was changed while it was signed")
    content, identity = signature.sign(data, key)
    signature.write(folder, SIGNATURE, content)
    return identity


def _check_signature(opened: Folder, manifest: bytes, key: Path, present: set[str]) -> None:
    if SIGNATURE not in present:
        raise BundleError(f"{opened.path} is not signed, and a signature by {key} is asked for")
    try:
        signature.check(manifest, opened.read(SIGNATURE, strict_json.MAX_BYTES), key)
    except BundleError as error:
        raise BundleError(f"{opened.path}: {error}") from error


def _read(opened: Folder, name: str, expected: str) -> bytes:
    data = opened.read(name, MAX_GRAPH_BYTES if name.endswith(".onnx") else MAX_FILE_BYTES)
    found = sha256(data)
    if found != expected:
        raise BundleError(
            f"{opened.path}: {name} was altered: SHA-256 {found[:12]}…, expected {expected[:12]}…"
        )
    return data


def _check_tables(where: Path, manifest: Manifest, tables: Tables) -> None:
    if manifest.n_steps not in tables.steps:
        raise BundleError(f"{where}: {TABLE} has no table of {manifest.n_steps} steps")
    if tables.columns != len(manifest.columns):
        raise BundleError(
            f"{where}: {TABLE} has {tables.columns} columns, {MANIFEST} names "
            f"{len(manifest.columns)}"
        )


def _check_calibration(where: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
    if (GUARD in contents) != (SUPPORT in contents):
        raise BundleError(f"{where}: {GUARD} and {SUPPORT} go together, one is missing")
    if GUARD not in contents:
        return
    found = Calibration.from_bytes(contents[GUARD]).weights_digest
    if found != manifest.weights_digest:
        raise BundleError(
            f"{where}: {GUARD} is of other weights, {found[:12]!a} and not "
            f"{manifest.weights_digest[:12]!a}; run bridle calibrate"
        )


def inspect(where: Path, contents: Mapping[str, bytes]) -> Tables:
    """Look at everything that a library will load, before it does.

    Returns:
        What tables there are.

    Raises:
        BundleError: naming the file, and what it may not have.
    """
    name = ROBOT
    try:
        inspect_kinematic_model(contents[ROBOT].decode())
        for name, loops in ((ENCODER, 0), (STEP, 0), (POLICY, 1)):
            inspect_graph(contents[name], loops=loops)
        if FEASIBILITY in contents:
            name = FEASIBILITY
            inspect_graph(contents[FEASIBILITY], loops=0)
        if TOKENIZER in contents:
            name = TOKENIZER
            inspect_tokenizer(contents[TOKENIZER])
        if GUARD in contents:
            name = GUARD
            Calibration.from_bytes(contents[GUARD])
        if SUPPORT in contents:
            name = SUPPORT
            Support.from_bytes(contents[SUPPORT])
        name = TABLE
        return inspect_tables(contents[TABLE])
    except (BundleError, KinematicsError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: {name} is refused: {error}") from error
