"""One writer at a time."""

import fcntl
import os
import socket
from pathlib import Path

from bridle.training.demonstrations.schema import DemonstrationError


class WriteLock:
    """The right to write to a set: an advisory lock on a file beside it.

    The kernel ends it with the process, so that no lock outlives a kill.

    Raises:
        DemonstrationError: another writer holds it, with its process and host.
    """

    def __init__(self, path: Path) -> None:
        target = path.resolve()
        self.path = target.with_name(f"{target.name}.lock")
        while True:
            self._file = self.path.open("a+")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.seek(0)
                owner = self._file.read().strip() or "another process"
                self._file.close()
                raise DemonstrationError(
                    f"{path} is being written by {owner}; a set takes one writer at a time"
                ) from None
            # A writer that has just closed may have removed the file we opened.
            if self.path.exists() and os.path.samestat(
                self.path.stat(), os.fstat(self._file.fileno())
            ):
                break
            self._file.close()
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    @property
    def released(self) -> bool:
        """Whether it was given back."""
        return self._file.closed

    def release(self) -> None:
        """Give it back."""
        if not self.released:
            self.path.unlink(missing_ok=True)
            self._file.close()
