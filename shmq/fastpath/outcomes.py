"""What a kernel of the fast path makes of a frame."""

from typing import Final

DONE: Final = 0
"""The frame is served: answered, submitted to the writer, or parked."""
SLOW: Final = 1
"""The frame is for Python; nothing was done."""
