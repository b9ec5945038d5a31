"""A bundle in the making, and what a hostile hand does to it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

MANIFEST = "manifest.json"


@dataclass
class Draft:
    """What will be written; hashes are made right at the end unless `stale` keeps the old ones."""

    contents: dict[str, bytes]
    manifest: dict
    random: Random
    outside: Path
    """A folder beside the bundle that nobody may touch."""
    stale: bool = False
    raw_manifest: bytes | None = None
    """Written in place of `manifest`."""
    afterwards: list[Callable[[Path], None]] = field(default_factory=list)
    """Done to the folder when all is written."""
    key: Path | None = None
    """The public key that the reader asks for."""

    def text(self) -> str:
        """The manifest as JSON, with the hashes it shall have."""
        if not self.stale:
            listed = set(self.manifest.get("files", {}))
            hashes = {n: sha256(d).hexdigest() for n, d in self.contents.items() if n in listed}
            self.manifest["files"] = self.manifest["files"] | hashes
        return json.dumps(self.manifest, indent=2)

    def write(self, folder: Path) -> None:
        """Write the folder."""
        folder.mkdir()
        for name, data in self.contents.items():
            (folder / name).write_bytes(data)
        raw = self.raw_manifest if self.raw_manifest is not None else self.text().encode()
        (folder / MANIFEST).write_bytes(raw)
        for action in self.afterwards:
            action(folder)


Attack = Callable[[Draft], None]


def draft_of(bundle: Path, seed: int, outside: Path) -> Draft:
    """The valid bundle, still unspoiled."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    contents = {name: (bundle / name).read_bytes() for name in manifest["files"]}
    return Draft(contents, manifest, Random(seed), outside)
