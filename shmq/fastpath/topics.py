"""Layout and kernels: what sends and pulls need of each topic: a row a topic, by the topic's id.

    offset  size  field           meaning
    ------  ----  --------------  ----------------------------------------------------------------
         0     8  flags           EXISTS, SENDABLE
         8     8  queue_count     how many queues can be read or written
        16     8  message_flag    what every message of the topic gets into its sysFlag
        24     8  permission
        32     8  topic_sys_flag
        40     8  read_queue_count
        64

Private to a network worker, whose Python (`fastpath/tables.py`) rewrites a row when the conductor tells it of a
change; kernels only look. Python decides then whether a topic is plain.
"""

from typing import Final

from shmq.fastpath import desk
from shmq.jit import kernel
from shmq.memory.endian import load_native_i64
from shmq.memory.layout import layout, offset_of
from shmq.store.name_table import find_name
from shmq.store.position import NONE

LAYOUT: Final = layout(
    64,
    flags=(0, "<i8"),
    queue_count=(8, "<i8"),
    message_flag=(16, "<i8"),
    permission=(24, "<i8"),
    topic_sys_flag=(32, "<i8"),
    read_queue_count=(40, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
FLAGS: Final = offset_of(LAYOUT, "flags")
QUEUE_COUNT: Final = offset_of(LAYOUT, "queue_count")
MESSAGE_FLAG: Final = offset_of(LAYOUT, "message_flag")
PERMISSION: Final = offset_of(LAYOUT, "permission")
TOPIC_SYS_FLAG: Final = offset_of(LAYOUT, "topic_sys_flag")
READ_QUEUE_COUNT: Final = offset_of(LAYOUT, "read_queue_count")

EXISTS: Final = 1
SENDABLE: Final = 2
"""Any client may send any plain message to it."""


@kernel
def find_topic(at_desk: int, name: int, name_bytes: int) -> int:
    """The id of a topic that there is, or NONE."""
    topic_id = find_name(load_native_i64(at_desk + desk.TOPIC_NAMES), name, name_bytes)
    if topic_id == NONE or load_native_i64(topic_at(at_desk, topic_id) + FLAGS) & EXISTS == 0:
        return NONE
    return topic_id


@kernel
def topic_at(at_desk: int, topic_id: int) -> int:
    """Where the row of a topic lies."""
    return load_native_i64(at_desk + desk.TOPICS) + SIZE * topic_id
