"""Let a role do nothing but rest, in a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

FOR_LONG_NS = 30_000_000_000


@contextlib.contextmanager
def resting(role: Any, wake: Callable[[], object]) -> Iterator[None]:
    """Have a role rest again and again while the block runs; `wake` ends its last rest."""
    is_over = threading.Event()

    def rest() -> None:
        while not is_over.is_set():
            role.rest(FOR_LONG_NS)

    sleeper = threading.Thread(target=rest)
    sleeper.start()
    try:
        yield
    finally:
        is_over.set()
        while sleeper.is_alive():
            wake()
            sleeper.join(0.001)
