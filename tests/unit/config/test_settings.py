import dataclasses
import re
import socket
from pathlib import Path

import pytest

from shmq.config.addresses import outside_address
from shmq.config.setting import SettingError, setting_of
from shmq.config.settings import Config
from shmq.errors import ConfigError


def test_the_defaults_are_a_configuration():
    config = Config()
    assert config.broker_name == socket.gethostname()
    assert config.listen == "127.0.0.1:10911"
    assert config.namesrv_listen == "127.0.0.1:9876"
    assert 1 <= config.network_workers <= 32


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().trace_topic_enable = True


def test_every_setting_is_explained_in_whole_sentences():
    for declared in dataclasses.fields(Config):
        assert re.fullmatch(r"[A-Z0-9~].{10,}\.", setting_of(declared).doc), declared.name


def test_no_two_settings_claim_one_java_key():
    keys = [key for declared in dataclasses.fields(Config) for key in setting_of(declared).java]
    assert len(keys) == len(set(keys))


def test_a_number_of_bytes_or_milliseconds_says_so_in_its_name():
    for declared in dataclasses.fields(Config):
        assert not re.search(r"_(size|time|timeout|interval|seconds|kb)$", declared.name), declared.name


def test_outside_name_servers_switch_the_embedded_one_off():
    config = Config(namesrv_addresses=("10.0.0.1:9876",))
    assert config.namesrv_listen == "off"
    assert not config.namesrv_listens


def test_the_embedded_name_server_stays_on_when_asked_for_by_name():
    config = Config(namesrv_addresses=("10.0.0.1:9876",), namesrv_listen="127.0.0.1:9876")
    assert config.namesrv_listens


def test_ports_follow_from_the_listening_one():
    config = Config(listen="[::1]:20911")
    assert (config.listen_host, config.listen_port) == ("::1", 20911)
    assert (config.vip_port, config.ha_port) == (20909, 20912)


@pytest.mark.parametrize(
    ("listen", "advertised", "told"),
    [
        ("127.0.0.1:10911", "", "127.0.0.1:10911"),
        ("10.1.2.3:10911", "", "10.1.2.3:10911"),
        ("0.0.0.0:10911", "broker.example", "broker.example:10911"),
        ("0.0.0.0:10911", "broker.example:30911", "broker.example:30911"),
        ("[::]:10911", "2001:db8::1", "[2001:db8::1]:10911"),
        ("[::]:10911", "[2001:db8::1]:30911", "[2001:db8::1]:30911"),
    ],
)
def test_clients_are_told_an_address_that_can_be_dialled(listen, advertised, told):
    assert Config(listen=listen, advertised_address=advertised).effective_advertised_address() == told


def test_a_wildcard_is_told_as_the_outside_address_of_the_machine():
    told = Config(listen="0.0.0.0:10911").effective_advertised_address()
    assert told == f"{outside_address() or '127.0.0.1'}:10911"


def test_delay_levels_are_milliseconds():
    levels = Config().delay_levels_ms
    assert (len(levels), levels[0], levels[4], levels[-1]) == (18, 1000, 60_000, 7_200_000)
    assert Config(message_delay_levels="1d 3s").delay_levels_ms == (86_400_000, 3000)


def test_consume_queue_files_hold_whole_entries():
    assert Config(consume_queue_file_bytes=1001).consume_queue_file_bytes == 1020
    assert Config(consume_queue_file_bytes=1000).consume_queue_file_bytes == 1000


def test_paths_are_absolute_and_know_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    config = Config(log_directory="logs")
    assert config.store_root == "/home/somebody/store"
    assert config.commit_log_directory == "/home/somebody/store/commitlog"
    assert config.log_directory == str(Path(tmp_path) / "logs")
    assert config.ready_file == ""


def test_a_commit_log_may_lie_elsewhere():
    assert Config(commit_log_directory="/fast/log").commit_log_directory == "/fast/log"


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"broker_role": "SLAVE", "broker_id": 1}, "broker_role"),
        ({"broker_role": "BOSS"}, "broker_role"),
        ({"broker_id": 1}, "broker_id"),
        ({"broker_name": "a/b"}, "broker_name"),
        ({"broker_name": ""}, "broker_name"),
        ({"cluster_name": "a b"}, "cluster_name"),
        ({"listen": "10911"}, "listen"),
        ({"listen": "127.0.0.1:2"}, "listen"),
        ({"listen": "127.0.0.1:65535"}, "listen"),
        ({"namesrv_listen": "127.0.0.1:10911"}, "namesrv_listen"),
        ({"namesrv_listen": "127.0.0.1:10909"}, "namesrv_listen"),
        ({"console_listen": "127.0.0.1:9876"}, "console_listen"),
        ({"namesrv_addresses": ("nowhere",)}, "namesrv_addresses"),
        ({"advertised_address": "a:b:c"}, "advertised_address"),
        ({"advertised_listeners": ("a",)}, "advertised_listeners"),
        ({"store_root": ""}, "store_root"),
        ({"commit_log_directory": "/a,/b"}, "commit_log_directory"),
        ({"commit_log_file_bytes": 4095}, "commit_log_file_bytes"),
        ({"consume_queue_file_bytes": 0}, "consume_queue_file_bytes"),
        ({"submit_ring_bytes": 16 * 1024 * 1024 + 1}, "submit_ring_bytes"),
        ({"submit_ring_bytes": 8 * 1024 * 1024}, "submit_ring_bytes"),
        ({"message_bytes_max": 16 * 1024 * 1024}, "submit_ring_bytes"),
        ({"message_bytes_max": 16 << 20, "submit_ring_bytes": 1 << 26}, "frame_bytes_max"),
        ({"completion_ring_bytes": 5000}, "completion_ring_bytes"),
        ({"restart_delay_ms_min": 2000, "restart_delay_ms_max": 1000}, "restart_delay_ms_max"),
        ({"network_workers": 0}, "network_workers"),
        ({"network_workers": 33}, "network_workers"),
        ({"flush_interval_ms": 0}, "flush_interval_ms"),
        ({"message_delay_levels": "1s  5s"}, "message_delay_levels"),
        ({"message_delay_levels": "1w"}, "message_delay_levels"),
        ({"in_memory_ratio_percent": 101}, "in_memory_ratio_percent"),
        ({"shared_memory_group": "no such group"}, "shared_memory_group"),
        ({"log_level": "loud"}, "log_level"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(given, blamed):
    with pytest.raises(SettingError) as caught:
        Config(**given)
    assert caught.value.names[0] == blamed
    assert isinstance(caught.value, ConfigError)
    assert caught.value.allowed in str(caught.value)


def test_a_port_below_the_vip_distance_serves_without_the_vip_channel():
    config = Config(listen="127.0.0.1:1", vip_listen_enable=False)
    assert config.listen_port == 1


def test_a_slave_is_told_that_replication_is_not_built():
    with pytest.raises(ConfigError, match="replication is not built yet"):
        Config(broker_role="SLAVE", broker_id=1)
