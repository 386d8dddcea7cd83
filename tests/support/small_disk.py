"""A filesystem of a given size, in memory and in a name space of mounts of its own: nothing to clean up, no need of root.

Its holder is a shell; from outside, the name space is reached through the holder's entry in /proc. It ends with it.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from tests.support.processes import Process

_DEADLINE_S: Final = 30.0
_DONE: Final = "done"


class SmallDisk(contextlib.ExitStack):
    """A disk for the time of a `with` block.

    Attributes:
        path: its root.
    """

    def __init__(self, directory: Path, size: str) -> None:
        super().__init__()
        self._at = directory / "disk"
        self._at.mkdir()
        alone = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        self._holder = Process(["unshare", *alone, "sh"], log_path=directory / "disk.log")
        self.push(self._holder)
        self._do(f"mount -t tmpfs -o size={size} tmpfs '{self._at}'")
        self.path = Path(f"/proc/{self._holder.pid}/root") / self._at.relative_to("/")

    def add(self, name: str, size: str) -> Path:
        """Make another filesystem of a given size below this one; return its root."""
        at = self._at / name
        self._do(f"mkdir -p '{at}' && mount -t tmpfs -o size={size} tmpfs '{at}'")
        return self.path / name

    def forbid_writing(self) -> None:
        """Mount it read-only."""
        self._do(f"mount -o remount,ro '{self._at}'")

    def occupy(self, path: Path) -> None:
        """Fill a file until there is no room left on its filesystem."""
        with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)):
                continue
        assert os.statvfs(path).f_bavail == 0

    def _do(self, command: str) -> None:
        self._holder.say(f"{command} && echo {_DONE} || exit 1")
        self._holder.wait_line(lambda line: line == _DONE, _DEADLINE_S)
