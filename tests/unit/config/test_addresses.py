import ipaddress

import pytest

from shmq.config.addresses import (
    is_address,
    is_host,
    is_wildcard,
    join_address,
    outside_address,
    split_address,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:10911", "127.0.0.1", 10911),
        ("broker-1.example:1", "broker-1.example", 1),
        ("[::1]:65535", "::1", 65535),
        ("0.0.0.0:0", "0.0.0.0", 0),
    ],
)
def test_an_address_is_split_and_joined_again(text, host, port):
    assert split_address(text) == (host, port)
    assert join_address(host, port) == text


@pytest.mark.parametrize(
    "text",
    ["", "host", ":1", "host:", "host:x", "host:65536", "host:-1", "::1:1", "[nonsense]:1", "a b:1", "a/b:1"],
)
def test_what_is_not_host_and_port_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  (whichever of host and port is wrong)
        split_address(text)
    assert not is_address(text)


def test_port_zero_cannot_be_dialled():
    assert not is_address("127.0.0.1:0")


def test_a_host_is_a_name_or_a_bare_address():
    assert all(is_host(text) for text in ("localhost", "10.0.0.1", "::1"))
    assert not any(is_host(text) for text in ("", "a:1", "a b"))


def test_wildcards_of_both_families_are_known():
    assert is_wildcard("0.0.0.0")
    assert is_wildcard("::")
    assert not is_wildcard("127.0.0.1")
    assert not is_wildcard("localhost")


def test_the_outside_address_is_never_loopback():
    found = outside_address()
    assert found is None or not ipaddress.IPv4Address(found).is_loopback
