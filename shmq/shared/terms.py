"""What a process that attaches must know of the broker's configuration, kept in the segment as text.

    offset  size  field  meaning
    ------  ----  -----  ------------------------------------------------------------
         0     8  size   bytes of the text
         8        text   a JSON object: the fields of `Terms`
      8192

It lies right behind the header, where it is found without knowing anything else. Written by the supervisor
before the magic is, and never again. Who attaches reckons the plan from it and compares the layout's hash.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shmq.config.settings import Config
from shmq.errors import LayoutMismatchError

SIZE: Final = 8192
_TEXT: Final = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """Those settings, by the names that they have in `Config`."""

    broker_name: str
    cluster_name: str
    network_workers: int
    submit_ring_bytes: int
    completion_ring_bytes: int
    letter_ring_bytes: int
    local_sessions_max: int
    local_submit_ring_bytes: int
    local_completion_ring_bytes: int
    topics_max: int
    groups_max: int
    queue_slots_max: int
    offset_rows_max: int
    store_root: str
    commit_log_directory: str
    commit_log_file_bytes: int
    consume_queue_file_bytes: int
    flush_disk_type: str
    message_bytes_max: int
    broker_permission: int
    default_topic_queue_nums: int
    advertised_address: str

    @classmethod
    def of(cls, config: Config) -> "Terms":
        """Those of a configuration, with the address that clients really dial."""
        values = {each.name: getattr(config, each.name) for each in fields(cls)}
        return cls(**(values | {"advertised_address": config.effective_advertised_address()}))

    @property
    def is_sync_flush(self) -> bool:
        """Whether a message is acknowledged when it is on disk, and not before."""
        return self.flush_disk_type == "SYNC_FLUSH"


def write_terms(region: NDArray[np.uint8], terms: Terms) -> None:
    """Store them in a segment that is being made."""
    text = json.dumps(asdict(terms)).encode()
    assert _TEXT + len(text) <= SIZE, "the settings are longer than their page"
    region[_TEXT : _TEXT + len(text)] = np.frombuffer(text, dtype=np.uint8)
    region[:_TEXT].view(np.int64)[0] = len(text)


def read_terms(region: NDArray[np.uint8]) -> Terms:
    """Read them back.

    Raises:
        LayoutMismatchError: another version of shmq wrote them.
    """
    size_bytes = int(region[:_TEXT].view(np.int64)[0])
    try:
        return Terms(**json.loads(region[_TEXT : _TEXT + size_bytes].tobytes()))
    except (TypeError, ValueError) as error:
        raise LayoutMismatchError(
            f"the broker's settings are written as another version does: {error}"
        ) from error
