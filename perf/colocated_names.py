"""The names of the colocated peers in the figures: for who reads figures and has no peer installed."""

from typing import Final

PYZMQ: Final = "pyzmq ipc"
QUEUE: Final = "mp.Queue"
PIPE: Final = "mp.Pipe"
POSIX_MQ: Final = "POSIX mq"
ICEORYX2: Final = "iceoryx2"

NOTHING_KEPT: Final = "none, in memory"
"""What each of them promises of a message that it has taken."""
