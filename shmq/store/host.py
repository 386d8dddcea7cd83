"""Host: an address and a port as records carry them, and as sockets know their peers.

Apart from the record, so that what serves sockets and stores nothing does not bring in the compiler.
"""

from typing import NamedTuple


class Host(NamedTuple):
    """An address of 4 or 16 bytes, and a port."""

    address: bytes
    port: int
