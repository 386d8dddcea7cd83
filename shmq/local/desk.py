"""Layout: what the kernels of a session work on, private to its process.

A desk, one a session:

    offset  size  field                 meaning
    ------  ----  --------------------  -----------------------------------------------------------------
         0     8  thread                the only thread that may use it; NOBODY while Python must look first
         8     8  state                 where the broker's state lies
        16     8  metadata              where the broker counts changes of topics and groups
        24     8  ring                  to the writer
        32     8  capacity              of that ring
        40     8  completions           from the writer
        48     8  completions_capacity  of that ring
        56     8  writer_bell           wakes the writer
        64     8  serial                of the last submission
        72     8  answered              the last submission that was answered
        80     8  messages              sent, ever
        88     8  messages_answered     of which the writer has answered so many
        96     8  messages_refused      and of those it did not store so many
       104     8  last_status           of the last answer: a PutStatus
       112     8  last_refusal          of the last answer that was none of success
       120     8  queue                 counts submissions, to give each queue its turn
       128     8  answers               where answers that somebody waits for are noted
       136     8  answers_count          how many are noted
       144     8  last_queue            the queue of the last submission; with the next three, as a SendResult has them
       152     8  last_offset           of the last answer: queue offset, position, store time
       160     8  last_position
       168     8  last_store_ms
       176    16  clock                 seconds and nanoseconds
       192     8  spins                 how often a sender looks for its answer before it sleeps
       200     8  is_sync               1 where a message counts as stored only when it is on disk
       208     8  host                  the broker's address: a Python object, which the session keeps
       256

A template, one for each topic and set of properties: a record but for what each message has of its own.

         0     8  desk                  of its session
         8     8  metadata_seen         the count of changes that the queues below are true for; NOBODY: none
        16     8  slots                 where the slots of the queues to write to lie, by queue id
        24     8  queue_count           how many there are
        32     8  head                  where the record's head lies, ready but for what is the message's
        40     8  head_bytes
        48     8  tail                  where what follows the body lies: topic and properties
        56     8  tail_bytes
        64     8  body_bytes_max        the longest body
        72     8  slow_send             the Python callable to go on with where `send` cannot
        80     8  none                  the object None
        88     8  done                  of a batch that a kernel left unfinished: how many are sent
        96     8  fixed_queue           where all messages go; ANY_QUEUE: to each queue in turn
       104     8  slow_wait             the Python callable to go on with where `send_wait` cannot
       112     8  is_untold             1 where `send_wait` has sent its message, and the answer is not told yet
       120     8  result_type           the class SendResult
       128

An answer that somebody waits for:

         0     8  serial                of its submission
         8     8  status
        16     8  queue_offset
        24     8  position
        32     8  store_ms
        40

A submission's tag is `serial << 16 | messages << 1 | wanted`, so that its answer tells everything about it.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

DESK: Final = layout(
    256,
    thread=(0, "<i8"),
    state=(8, "<i8"),
    metadata=(16, "<i8"),
    ring=(24, "<i8"),
    capacity=(32, "<i8"),
    completions=(40, "<i8"),
    completions_capacity=(48, "<i8"),
    writer_bell=(56, "<i8"),
    serial=(64, "<i8"),
    answered=(72, "<i8"),
    messages=(80, "<i8"),
    messages_answered=(88, "<i8"),
    messages_refused=(96, "<i8"),
    last_status=(104, "<i8"),
    last_refusal=(112, "<i8"),
    queue=(120, "<i8"),
    answers=(128, "<i8"),
    answers_count=(136, "<i8"),
    last_queue=(144, "<i8"),
    last_offset=(152, "<i8"),
    last_position=(160, "<i8"),
    last_store_ms=(168, "<i8"),
    clock=(176, "(2,)<i8"),
    spins=(192, "<i8"),
    is_sync=(200, "<i8"),
    host=(208, "<i8"),
)
DESK_SIZE: Final = DESK.itemsize
THREAD: Final = offset_of(DESK, "thread")
STATE: Final = offset_of(DESK, "state")
METADATA: Final = offset_of(DESK, "metadata")
RING: Final = offset_of(DESK, "ring")
CAPACITY: Final = offset_of(DESK, "capacity")
COMPLETIONS: Final = offset_of(DESK, "completions")
COMPLETIONS_CAPACITY: Final = offset_of(DESK, "completions_capacity")
WRITER_BELL: Final = offset_of(DESK, "writer_bell")
SERIAL: Final = offset_of(DESK, "serial")
ANSWERED: Final = offset_of(DESK, "answered")
MESSAGES: Final = offset_of(DESK, "messages")
MESSAGES_ANSWERED: Final = offset_of(DESK, "messages_answered")
MESSAGES_REFUSED: Final = offset_of(DESK, "messages_refused")
LAST_STATUS: Final = offset_of(DESK, "last_status")
LAST_REFUSAL: Final = offset_of(DESK, "last_refusal")
QUEUE: Final = offset_of(DESK, "queue")
ANSWERS: Final = offset_of(DESK, "answers")
ANSWERS_COUNT: Final = offset_of(DESK, "answers_count")
LAST_OFFSET: Final = offset_of(DESK, "last_offset")
LAST_POSITION: Final = offset_of(DESK, "last_position")
LAST_STORE_MS: Final = offset_of(DESK, "last_store_ms")
LAST_QUEUE: Final = offset_of(DESK, "last_queue")
CLOCK: Final = offset_of(DESK, "clock")
SPINS: Final = offset_of(DESK, "spins")
IS_SYNC: Final = offset_of(DESK, "is_sync")
HOST: Final = offset_of(DESK, "host")

TEMPLATE: Final = layout(
    128,
    desk=(0, "<i8"),
    metadata_seen=(8, "<i8"),
    slots=(16, "<i8"),
    queue_count=(24, "<i8"),
    head=(32, "<i8"),
    head_bytes=(40, "<i8"),
    tail=(48, "<i8"),
    tail_bytes=(56, "<i8"),
    body_bytes_max=(64, "<i8"),
    slow_send=(72, "<i8"),
    none=(80, "<i8"),
    done=(88, "<i8"),
    fixed_queue=(96, "<i8"),
    slow_wait=(104, "<i8"),
    is_untold=(112, "<i8"),
    result_type=(120, "<i8"),
)
TEMPLATE_SIZE: Final = TEMPLATE.itemsize
OWN_DESK: Final = offset_of(TEMPLATE, "desk")
METADATA_SEEN: Final = offset_of(TEMPLATE, "metadata_seen")
SLOTS: Final = offset_of(TEMPLATE, "slots")
QUEUE_COUNT: Final = offset_of(TEMPLATE, "queue_count")
HEAD: Final = offset_of(TEMPLATE, "head")
HEAD_BYTES: Final = offset_of(TEMPLATE, "head_bytes")
TAIL: Final = offset_of(TEMPLATE, "tail")
TAIL_BYTES: Final = offset_of(TEMPLATE, "tail_bytes")
BODY_BYTES_MAX: Final = offset_of(TEMPLATE, "body_bytes_max")
SLOW_SEND: Final = offset_of(TEMPLATE, "slow_send")
NONE_OBJECT: Final = offset_of(TEMPLATE, "none")
DONE: Final = offset_of(TEMPLATE, "done")
FIXED_QUEUE: Final = offset_of(TEMPLATE, "fixed_queue")
SLOW_WAIT: Final = offset_of(TEMPLATE, "slow_wait")
IS_UNTOLD: Final = offset_of(TEMPLATE, "is_untold")
RESULT_TYPE: Final = offset_of(TEMPLATE, "result_type")

ANSWER: Final = layout(
    40,
    serial=(0, "<i8"),
    status=(8, "<i8"),
    queue_offset=(16, "<i8"),
    position=(24, "<i8"),
    store_ms=(32, "<i8"),
)
ANSWER_SIZE: Final = ANSWER.itemsize
ANSWERS_MAX: Final = 256

NOBODY: Final = -1
SERIAL_SHIFT: Final = 16
COUNT_SHIFT: Final = 1
COUNT_MASK: Final = 0x7FFF
WANTED: Final = 1
