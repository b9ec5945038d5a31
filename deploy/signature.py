"""Who made a bundle: an Ed25519 signature over its manifest, which holds the hash of every file.

The signature is over the exact bytes of `manifest.json`, so that other tools can check it too.
Source: RFC 8032, as implemented by `cryptography`.
"""

import base64
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridle.deploy import strict_json
from bridle.deploy.exceptions import BundleError, SigningError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT_VERSION = 1
ALGORITHM = "ed25519"
_MAX_KEY_BYTES = 2**14


def new_key(path: Path) -> str:
    """Make a key pair: the private key at `path`, for its owner alone, the public one beside it.

    Returns:
        The public key's id.

    Raises:
        SigningError: a file is there already or cannot be written, or `cryptography` is missing.
    """
    ed25519, serialization = _cryptography()
    private = ed25519.Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    beside = path.with_name(f"{path.name}.pub")
    if os.path.lexists(beside):
        raise SigningError(f"{beside} exists; a key is never overwritten")
    for target, content, mode in ((path, secret, 0o600), (beside, public, 0o644)):
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(target, flags, mode), "wb") as file:  # noqa: PTH123
                file.write(content)
        except FileExistsError as error:
            raise SigningError(f"{target} exists; a key is never overwritten") from error
        except OSError as error:
            raise SigningError(f"{target} cannot be written: {error.strerror}") from error
    return key_id(private.public_key())


def key_id(key: "Ed25519PublicKey") -> str:
    """SHA-256 of a public key's 32 bytes, hexadecimal."""
    import hashlib

    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def sign(manifest: bytes, key: Path) -> tuple[bytes, str]:
    """Sign a manifest.

    Returns:
        The content of `signature.json`, and the key's id.

    Raises:
        SigningError: the file is no Ed25519 private key, others may read it, or `cryptography` is
            missing.
    """
    ed25519, serialization = _cryptography()
    if key.is_file() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise SigningError(f"{key} can be read by others; chmod 600 {key}")
    private = _load(key, "private", lambda d: serialization.load_pem_private_key(d, None))
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise SigningError(f"{key} is not an Ed25519 private key; make one with sign --new-key")
    identity = key_id(private.public_key())
    content = {
        "format_version": FORMAT_VERSION,
        "algorithm": ALGORITHM,
        "key": identity,
        "signature": base64.b64encode(private.sign(manifest)).decode(),
    }
    return (json.dumps(content, indent=2) + "\n").encode(), identity


def check(manifest: bytes, signature: bytes, key: Path) -> str:
    """Check that the owner of a key signed a manifest.

    Args:
        manifest: the bytes of `manifest.json`.
        signature: the bytes of `signature.json`.
        key: file of the public key (PEM).

    Returns:
        The key's id.

    Raises:
        BundleError: the signature is not readable, of another key, or of another manifest.
        SigningError: the file is no Ed25519 public key, or `cryptography` is missing.
    """
    ed25519, serialization = _cryptography()
    from cryptography.exceptions import InvalidSignature

    public = _load(key, "public", serialization.load_pem_public_key)
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise SigningError(f"{key} is not an Ed25519 public key")
    try:
        content = strict_json.parse(signature)
    except ValueError as error:
        raise BundleError(f"the signature cannot be read: {error}") from error
    expected = {"format_version": FORMAT_VERSION, "algorithm": ALGORITHM, "key": key_id(public)}
    if not isinstance(content, dict) or content.keys() != {*expected, "signature"}:
        raise BundleError("the signature does not have the parts it should have")
    for name, value in expected.items():
        if type(content[name]) is not type(value) or content[name] != value:
            raise BundleError(
                f"the signature's {name} is {str(content[name])[:12]!r}, "
                f"{key} expects {str(value)[:12]!r}"
            )
    try:
        public.verify(base64.b64decode(content["signature"], validate=True), manifest)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise BundleError(f"the signature is not of this manifest by {key}") from error
    return key_id(public)


def write(folder: Path, name: str, content: bytes) -> None:
    """Put a file into a folder whole; a link that has its name is replaced, not followed."""
    descriptor, scratch = tempfile.mkstemp(dir=folder.parent, prefix=f".{folder.name}.")
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(content)
    Path(scratch).chmod(0o644)
    Path(scratch).replace(folder / name)


def _load(path: Path, kind: str, read: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        with path.open("rb") as file:
            return read(file.read(_MAX_KEY_BYTES))
    except OSError as error:
        raise SigningError(f"{path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        raise SigningError(f"{path} is protected by a password, which cannot be given") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{path} is not an Ed25519 {kind} key (PEM)") from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SigningError("signatures need cryptography: pip install 'bridle[sign]'") from error
    return ed25519, serialization
