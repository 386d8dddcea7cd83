"""Two integers never to be mixed: a byte of the log, and a message's number in its queue."""

from typing import Final, NewType

LogPosition = NewType("LogPosition", int)
"""A byte of the commit log, counted since the log's birth; never reused."""

QueueOffset = NewType("QueueOffset", int)
"""The number of a message in its queue, from 0 on without gaps."""

NONE: Final = -1
"""No position, no offset, no slot: what a search answers that finds nothing."""
