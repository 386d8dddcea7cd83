"""DataVersion: tells two states of a table apart, here, at the name servers and at replicas."""

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class DataVersion:
    """The version of one table.

    Attributes:
        counter: changes so far.
        timestamp_ms: of the last change.
        state_version: the master's epoch under a controller; 0 without.
    """

    counter: int = 0
    timestamp_ms: int = 0
    state_version: int = 0

    def next(self, now_ms: int) -> None:
        """Note a change."""
        self.counter += 1
        self.timestamp_ms = now_ms

    def to_json(self) -> dict[str, int]:
        """Return the object that documents and bodies hold."""
        return {"counter": self.counter, "stateVersion": self.state_version, "timestamp": self.timestamp_ms}


def read_data_version(read: Any, now_ms: int) -> DataVersion:
    """Return the version that a document holds; a fresh one where it holds none."""
    if not isinstance(read, dict):
        return DataVersion(timestamp_ms=now_ms)
    return DataVersion(
        int(read.get("counter") or 0), int(read.get("timestamp") or 0), int(read.get("stateVersion") or 0)
    )
