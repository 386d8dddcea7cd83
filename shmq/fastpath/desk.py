"""Layout: a network worker's desk: where everything lies that its kernels need.

    offset  size  field              meaning
    ------  ----  -----------------  ----------------------------------------------------------------
         0     8  now_ms             wall clock, set by the reactor once a round
         8     8  first_dirty        the first row with output to send, or 0
        16     8  has_submitted      1: the writer's bell is to be rung
        24     8  request            the parsed request at hand (`fastpath/request.py`)
        32     8  submit             ring to the writer
        40     8  completions        ring from the writer
        48     8  writer_bell
        56     8  watermarks
        64     8  topic_names        the shared tables
        72     8  group_names
        80     8  queues
        88     8  offsets
        96     8  topics             what sends and pulls need of each topic (`fastpath/topics.py`)
       104     8  groups             what pulls need of each group (`fastpath/groups.py`)
       112     8  pending            submissions that have no completion yet (`fastpath/pending.py`)
       120     8  parked             pulls that wait (`fastpath/parked.py`)
       128     8  log_files          where files of the log are mapped
       136     8  queue_files        where files of queues are mapped
       144     8  epoch              of this life of the worker
       152     8  is_sync_flush
       160     8  flush_wait_ms      how long an answer may wait for the flush
       168     8  message_bytes_max  of a body
       176     8  served             requests answered without Python, ever
       184     8  foreign            completions of Python's own submissions (`fastpath/completing.py`)
       192     8  send_suffix        text of the properties that every sent message gets, and how long it is
       200     8  send_suffix_bytes
       208     8  append_bytes_max   of the records of one submission
       216     8  appends_wait       1: Python's own submissions wait for room; none may overtake them
       224     8  refusals           answers to what the writer refuses (`fastpath/refusals.py`)
       232     8  reading            limits of one read, and the read at hand (`fastpath/reading.py`)
       240     8  subscriptions      what groups want of topics (`fastpath/groups.py`)
      1024

Private to one network worker. What it points to is described where it is defined; words above 240 are free for
whoever adds a request to the fast path.
"""

from typing import Final

from shmq.memory.layout import layout, offset_of

LAYOUT: Final = layout(
    1024,
    now_ms=(0, "<i8"),
    first_dirty=(8, "<i8"),
    has_submitted=(16, "<i8"),
    request=(24, "<i8"),
    submit=(32, "<i8"),
    completions=(40, "<i8"),
    writer_bell=(48, "<i8"),
    watermarks=(56, "<i8"),
    topic_names=(64, "<i8"),
    group_names=(72, "<i8"),
    queues=(80, "<i8"),
    offsets=(88, "<i8"),
    topics=(96, "<i8"),
    groups=(104, "<i8"),
    pending=(112, "<i8"),
    parked=(120, "<i8"),
    log_files=(128, "<i8"),
    queue_files=(136, "<i8"),
    epoch=(144, "<i8"),
    is_sync_flush=(152, "<i8"),
    flush_wait_ms=(160, "<i8"),
    message_bytes_max=(168, "<i8"),
    served=(176, "<i8"),
    foreign=(184, "<i8"),
    send_suffix=(192, "<i8"),
    send_suffix_bytes=(200, "<i8"),
    append_bytes_max=(208, "<i8"),
    appends_wait=(216, "<i8"),
    refusals=(224, "<i8"),
    reading=(232, "<i8"),
    subscriptions=(240, "<i8"),
)
SIZE: Final = LAYOUT.itemsize
NOW_MS: Final = offset_of(LAYOUT, "now_ms")
FIRST_DIRTY: Final = offset_of(LAYOUT, "first_dirty")
HAS_SUBMITTED: Final = offset_of(LAYOUT, "has_submitted")
REQUEST: Final = offset_of(LAYOUT, "request")
SUBMIT: Final = offset_of(LAYOUT, "submit")
COMPLETIONS: Final = offset_of(LAYOUT, "completions")
WRITER_BELL: Final = offset_of(LAYOUT, "writer_bell")
WATERMARKS: Final = offset_of(LAYOUT, "watermarks")
TOPIC_NAMES: Final = offset_of(LAYOUT, "topic_names")
GROUP_NAMES: Final = offset_of(LAYOUT, "group_names")
QUEUES: Final = offset_of(LAYOUT, "queues")
OFFSETS: Final = offset_of(LAYOUT, "offsets")
TOPICS: Final = offset_of(LAYOUT, "topics")
GROUPS: Final = offset_of(LAYOUT, "groups")
PENDING: Final = offset_of(LAYOUT, "pending")
PARKED: Final = offset_of(LAYOUT, "parked")
LOG_FILES: Final = offset_of(LAYOUT, "log_files")
QUEUE_FILES: Final = offset_of(LAYOUT, "queue_files")
EPOCH: Final = offset_of(LAYOUT, "epoch")
IS_SYNC_FLUSH: Final = offset_of(LAYOUT, "is_sync_flush")
FLUSH_WAIT_MS: Final = offset_of(LAYOUT, "flush_wait_ms")
MESSAGE_BYTES_MAX: Final = offset_of(LAYOUT, "message_bytes_max")
SERVED: Final = offset_of(LAYOUT, "served")
FOREIGN: Final = offset_of(LAYOUT, "foreign")
SEND_SUFFIX: Final = offset_of(LAYOUT, "send_suffix")
SEND_SUFFIX_BYTES: Final = offset_of(LAYOUT, "send_suffix_bytes")
APPEND_BYTES_MAX: Final = offset_of(LAYOUT, "append_bytes_max")
APPENDS_WAIT: Final = offset_of(LAYOUT, "appends_wait")
REFUSALS: Final = offset_of(LAYOUT, "refusals")
READING: Final = offset_of(LAYOUT, "reading")
SUBSCRIPTIONS: Final = offset_of(LAYOUT, "subscriptions")
