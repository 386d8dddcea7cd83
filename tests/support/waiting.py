"""Wait for what nobody announces: the state of a process, a line in a file.

Where there is a push, a line of stdout or a long poll to wait for, that is waited for instead.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

DEADLINE_S: Final = 60.0
_ASK_AGAIN_S: Final = 0.02


def eventually(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Return when the condition holds; fail when it does not in time."""
    give_up_at = time.monotonic() + deadline_s
    pause = threading.Event()  # never set: there is no event to wait for
    while not condition():
        assert time.monotonic() < give_up_at, f"not in {deadline_s} s: {condition}"
        pause.wait(_ASK_AGAIN_S)
