"""Addresses as text: `host:port`, `[ipv6]:port`, and the one that other machines can dial."""

import ipaddress
import socket
from typing import Final

PORT_MAX: Final = 65535


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`; raise ValueError where it is not one.

    An IPv6 host stands in brackets, and is returned without them.
    """
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
        ipaddress.IPv6Address(host)
    if not separator or not _is_host(host, colon_allowed=bracketed):
        raise ValueError(f"{text!r} is not HOST:PORT")
    if not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
        raise ValueError(f"{port!r} is not a port")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Return `host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_address(text: str) -> bool:
    """Whether text is `host:port` with a port that can be dialled."""
    try:
        return split_address(text)[1] > 0
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether text can stand before the colon of an address, or is a bare IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _is_host(text, colon_allowed=False)
    return True


def is_wildcard(host: str) -> bool:
    """Whether host means every interface of this machine, and so cannot be dialled from outside."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def outside_address() -> str | None:
    """Return the first IPv4 address of this machine that others could dial, or None."""
    import psutil  # noqa: PLC0415  (only wildcard listeners ask, and its import is slow)

    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET:
                candidate = ipaddress.IPv4Address(address.address)
                if not (candidate.is_loopback or candidate.is_link_local):
                    return str(candidate)
    return None


def _is_host(text: str, *, colon_allowed: bool) -> bool:
    return (
        bool(text)
        and text.isprintable()
        and not any(character in " /;,@[]" for character in text)
        and (colon_allowed or ":" not in text)
    )
