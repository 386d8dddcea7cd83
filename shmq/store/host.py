"""Host: an address and a port as records carry them, and as sockets know their peers.

Apart from the record, so that what serves sockets and stores nothing does not bring in the compiler.
"""

import ipaddress
from typing import NamedTuple


class Host(NamedTuple):
    """An address of 4 or 16 bytes, and a port."""

    address: bytes
    port: int


def pack_address(text: str) -> bytes:
    """Return the bytes of an IP address; of an IPv4 address mapped into IPv6, the 4 of IPv4.

    Raises:
        ValueError: the text is no IP address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed
