import tomllib
from dataclasses import fields

import pytest

from shmq.config.settings import Config
from shmq.config.values import read_value, scale_java, show_value, write_value

_BY_NAME = {declared.name: declared for declared in fields(Config)}


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("trace_topic_enable", "TRUE", True),
        ("trace_topic_enable", " false ", False),
        ("trace_topic_enable", True, True),
        ("submit_ring_bytes", "64MiB", 1 << 26),
        ("submit_ring_bytes", 4096, 4096),
        ("flush_interval_ms", "5s", 5000),
        ("flush_interval_ms", "500ms", 500),
        ("flush_interval_ms", 7, 7),
        ("topics_max", " 80 ", 80),
        ("broker_id", "-1", -1),
        ("broker_name", " b ", "b"),
        ("flush_disk_type", "sync_flush", "SYNC_FLUSH"),
        ("log_level", "INFO", "info"),
        ("namesrv_addresses", "a:1; b:2;", ("a:1", "b:2")),
        ("advertised_listeners", "a:1,b:2", ("a:1", "b:2")),
        ("advertised_listeners", ["a:1", "b:2"], ("a:1", "b:2")),
        ("namesrv_addresses", "", ()),
    ],
)
def test_what_is_written_becomes_a_value_of_the_type(name, written, value):
    read = read_value(_BY_NAME[name], written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("trace_topic_enable", "yes"),
        ("trace_topic_enable", 1),
        ("topics_max", "many"),
        ("topics_max", "1k"),
        ("topics_max", 1.5),
        ("topics_max", True),
        ("flush_interval_ms", "soon"),
        ("submit_ring_bytes", "big"),
        ("broker_name", 5),
        ("namesrv_addresses", 5),
        ("namesrv_addresses", [1]),
    ],
)
def test_what_is_of_another_type_is_refused(name, written):
    with pytest.raises((TypeError, ValueError)):
        read_value(_BY_NAME[name], written)


def test_seconds_of_java_become_milliseconds():
    assert scale_java("serverChannelMaxIdleTimeSeconds", "120") == "120000"
    assert scale_java("serverChannelMaxIdleTimeSeconds", "2m") == "2m"
    assert scale_java("flushIntervalCommitLog", "500") == "500"


@pytest.mark.parametrize("value", [True, 5, "text", 'quo"ted \\ é\n', (), ("a:1", "b:2")])
def test_a_written_value_is_toml(value):
    read = tomllib.loads(f"value = {write_value(value)}")["value"]
    assert (tuple(read) if isinstance(read, list) else read) == value


def test_every_default_is_shown_as_it_may_be_written():
    config = Config()
    for declared in fields(config):
        value = getattr(config, declared.name)
        if not isinstance(value, tuple):
            assert read_value(declared, show_value(declared, value)) == value
