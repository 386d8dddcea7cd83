"""A running broker's watermarks, read from its shared memory as a tool would."""

from shmq.config.settings import Config
from shmq.memory import region
from shmq.memory.region import Region
from shmq.shared import header
from shmq.shared.broker_memory import segment_name
from shmq.shared.plan import plan_for
from shmq.store.watermarks import Watermarks


class LiveWatermarks:
    """They stay readable for as long as this object lives, also when the broker has ended."""

    def __init__(self, config: Config) -> None:
        """Take the settings that the broker runs with, those that its memory's layout follows from."""
        self._memory: Region = region.attach(segment_name(config.broker_name))
        plan = plan_for(config)
        head = self._memory.records(0, 1, header.LAYOUT)[0]
        assert head["layout_hash"] == plan.layout_hash, "the broker runs with other settings"
        address = self._memory.address + plan.extents["watermarks"].offset_bytes
        self._watermarks = Watermarks(address, config.flush_disk_type == "SYNC_FLUSH")

    @property
    def flushed(self) -> int:
        """Every byte of the log below this is on disk."""
        return self._watermarks.flushed
