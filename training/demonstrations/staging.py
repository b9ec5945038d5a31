"""Sets that come to their place whole: zips, and whatever is behind a URL.

They are written to a folder on this machine, which a killed command goes on with, and are packed or
put to their place when they are complete.
"""

import hashlib
import shutil
from pathlib import Path

from bridle.training.demonstrations.attributes import Attributes
from bridle.training.demonstrations.layout import PARTIAL
from bridle.training.demonstrations.lock import WriteLock
from bridle.training.demonstrations.places import cache_folder, is_zip
from bridle.training.demonstrations.schema import DemonstrationError
from bridle.training.demonstrations.storage import opened_sound
from bridle.training.demonstrations.writer import DemonstrationWriter
from bridle.training.demonstrations.zips import pack, unfinished


def staging_folder(place: Path | str) -> Path:
    """Where a set for a place is written first: beside a zip, in the cache folder for a URL."""
    if isinstance(place, Path):
        return place.with_name(f"{place.name}.staging")
    number = hashlib.sha256(place.encode()).hexdigest()[:16]
    return cache_folder() / "staging" / f"{number}-{place.rsplit('/', 1)[-1]}"


class StagedWriter(DemonstrationWriter):
    """Appends to the folder of a set for elsewhere; `finish` brings it there.

    Leaving it after an error, or `close`, keeps the folder for the next try.
    """

    def __init__(self, path: Path, lock: WriteLock) -> None:
        super().__init__(path, lock)
        self.destination: Path | str = path

    def finish(self) -> None:
        """Bring the set to its place, and remove the folder.

        Raises:
            DemonstrationError: another set is there by now, or it cannot be written.
        """
        if is_there(self.destination) and not holds(self.destination, self.attributes):
            raise DemonstrationError(
                f"{self.destination} exists and is another set; choose another --out or remove it"
            )
        bring(self.path, self.destination)
        # Removing takes many steps: half a folder must not be taken for one to continue.
        gone = self.path.with_name(self.path.name + PARTIAL)
        shutil.rmtree(gone, ignore_errors=True)
        self.path.rename(gone)
        shutil.rmtree(gone)


def remove_leftovers(place: Path | str) -> None:
    """Remove what a kill has left of bringing a set to its place, now that it is there."""
    folder = staging_folder(place)
    if not folder.parent.is_dir():
        return
    lock = WriteLock(folder)
    try:
        shutil.rmtree(folder.with_name(folder.name + PARTIAL), ignore_errors=True)
    finally:
        lock.release()
    if isinstance(place, Path):
        with unfinished(place):
            pass


def is_there(place: Path | str) -> bool:
    """Whether something is at a place.

    Raises:
        DemonstrationError: that cannot be found out.
    """
    if isinstance(place, Path):
        return place.exists()
    from bridle.training.demonstrations.publishing import exists

    return exists(place)


def holds(place: Path | str, attributes: Attributes) -> bool:
    """Whether there is a sound set with exactly these attributes."""
    try:
        with opened_sound(place) as (stored, _):
            return stored.attributes == attributes
    except DemonstrationError:
        return False


def bring(folder: Path, place: Path | str) -> None:
    """Pack a folder or put it where a URL says, whole or not at all.

    Raises:
        DemonstrationError: the place cannot be written.
    """
    if isinstance(place, Path):
        pack(folder, place)
        return
    from bridle.training.demonstrations.publishing import publish

    if not is_zip(place):
        publish(folder, place)
        return
    packed = folder.with_name(f"{folder.name}.packed")
    try:
        pack(folder, packed)
        publish(packed, place)
    finally:
        packed.unlink(missing_ok=True)
