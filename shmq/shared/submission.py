"""Layout: what a producer's side puts in a submit ring, and what the commit writer answers.

A submission (kind SUBMISSION, tag: the producer's number for it):

    offset  size  field          meaning
    ------  ----  -------------  ----------------------------------------------------------------
         0     4  slot           the queue, as a slot of the queue table
         4     4  count          how many records follow, all for that queue
         8     4  records_bytes  their length together
        12     4                 zero
        16        the finished records, back to back, but for queue offset, position and store time

A completion (kind COMPLETION, tag: the submission's):

         0     4  status         a PutStatus: 0 stored
         4     4  count          records stored
         8     8  queue_offset   of the first record
        16     8  position       of the first record in the log; the others follow it
        24     8  store_ms       the writer's clock, as stored
        32

Native byte order. Every submission is answered once, whoever dies: the answers of a batch in flight lie ready in
their ring, and a writer's successor only has to publish them.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

SUBMISSION: Final = 1
COMPLETION: Final = 2

SUBMISSION_LAYOUT: Final = layout(16, slot=(0, "<i4"), count=(4, "<i4"), records_bytes=(8, "<i4"))
HEAD_SIZE: Final = SUBMISSION_LAYOUT.itemsize
SLOT: Final = offset_of(SUBMISSION_LAYOUT, "slot")
COUNT: Final = offset_of(SUBMISSION_LAYOUT, "count")
RECORDS_BYTES: Final = offset_of(SUBMISSION_LAYOUT, "records_bytes")

COMPLETION_LAYOUT: Final = layout(
    32,
    status=(0, "<i4"),
    count=(4, "<i4"),
    queue_offset=(8, "<i8"),
    position=(16, "<i8"),
    store_ms=(24, "<i8"),
)
COMPLETION_SIZE: Final = COMPLETION_LAYOUT.itemsize
STATUS: Final = offset_of(COMPLETION_LAYOUT, "status")
COMPLETION_COUNT: Final = offset_of(COMPLETION_LAYOUT, "count")
QUEUE_OFFSET: Final = offset_of(COMPLETION_LAYOUT, "queue_offset")
POSITION: Final = offset_of(COMPLETION_LAYOUT, "position")
STORE_MS: Final = offset_of(COMPLETION_LAYOUT, "store_ms")
