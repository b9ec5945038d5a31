"""Sign a bundle with a private key, so that `bridle verify --key` knows who vouches for it.

bridle sign --new-key ~/keys/lab.pem            a key pair: lab.pem stays here, lab.pem.pub travels
bridle sign bundles/pick-place --key ~/keys/lab.pem
bridle verify bundles/pick-place --key lab.pem.pub
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from bridle.cli import write_json
from bridle.commands import parse
from bridle.deploy import signature
from bridle.deploy.bundle import sign_bundle


@dataclass(frozen=True)
class Options:
    """Options of `bridle sign`."""

    bundle: Positional[Path | None] = None
    """Bundle to sign."""
    key: Path | None = None
    """Private key (PEM, Ed25519) to sign it with."""
    new_key: Path | None = None
    """Make a private key here, readable for you alone, and the public one beside it (.pub)."""
    json: Path | None = None
    """Write the result here."""

    def __post_init__(self) -> None:
        if self.bundle is None and self.new_key is None:
            raise ValueError("give a bundle and its --key, or --new-key")
        if (self.bundle is None) != (self.key is None):
            raise ValueError("a bundle is signed with a --key; give both or neither")
        if self.bundle is not None and self.new_key is not None:
            raise ValueError("make the key first, then sign: --new-key goes without a bundle")


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "sign", arguments, __doc__)
    if options.new_key is not None:
        identity = signature.new_key(options.new_key)
        print(f"{options.new_key}: keep it; {options.new_key}.pub is for those who verify")
        print(f"id {identity}")
        write_json(options.json, {"key": identity})
    if options.bundle is not None and options.key is not None:
        identity = sign_bundle(options.bundle, options.key)
        print(f"{options.bundle}: signed, key {identity[:12]}")
        write_json(options.json, {"bundle": str(options.bundle), "key": identity})
