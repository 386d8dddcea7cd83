import pytest

from shmq.config.sources import (
    Given,
    Origin,
    read_assignments,
    read_broker_conf,
    read_environment,
    read_toml,
)
from shmq.errors import ConfigError


def test_toml_keys_come_with_their_lines(tmp_path):
    path = tmp_path / "shmq.toml"
    path.write_text(
        '# first\nbroker_name = "b"\n\n"trace_topic_enable" = true\nadvertised_listeners = [\n "a:1",\n]\n'
    )
    assert read_toml(str(path)) == [
        Given("broker_name", "b", Origin("TOML file", str(path), 2)),
        Given("trace_topic_enable", True, Origin("TOML file", str(path), 4)),
        Given("advertised_listeners", ["a:1"], Origin("TOML file", str(path), 5)),
    ]


def test_a_table_in_toml_is_a_key_like_another(tmp_path):
    path = tmp_path / "shmq.toml"
    path.write_text("[broker]\nname = 1\n")
    assert read_toml(str(path)) == [Given("broker", {"name": 1}, Origin("TOML file", str(path), 1))]


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = \n", 2), ("a = 1\n\nc", 3)])
def test_what_is_not_toml_is_refused_with_its_line(tmp_path, text, line):
    path = tmp_path / "shmq.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"shmq\.toml:{line}: not TOML"):
        read_toml(str(path))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "shmq.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="not utf-8"):
        read_toml(str(path))


@pytest.mark.parametrize("read", [read_toml, read_broker_conf])
def test_a_missing_file_is_refused_by_name(tmp_path, read):
    with pytest.raises(ConfigError, match=r"absent: cannot be read: No such file"):
        read(str(tmp_path / "absent"))


def test_broker_conf_keys_come_with_their_lines(tmp_path):
    path = tmp_path / "broker.conf"
    path.write_bytes(b"# \xe9\nbrokerName = b\nlistenPort=1\n")
    assert read_broker_conf(str(path)) == [
        Given("brokerName", "b", Origin("broker.conf", str(path), 2)),
        Given("listenPort", "1", Origin("broker.conf", str(path), 3)),
    ]


def test_a_malformed_broker_conf_is_refused_with_its_line(tmp_path):
    path = tmp_path / "broker.conf"
    path.write_text("a=1\nb=\\u1\n")
    with pytest.raises(ConfigError, match=r"broker\.conf:2: .*hexadecimal"):
        read_broker_conf(str(path))


def test_only_our_variables_are_taken_from_the_environment():
    environment = {"PATH": "/bin", "SHMQ_LISTEN": "a:1", "SHMQ_CACHE_DIR": "/c", "SHMQ_BROKER_NAME": "b"}
    assert read_environment(environment) == [
        Given("SHMQ_BROKER_NAME", "b", Origin("environment")),
        Given("SHMQ_LISTEN", "a:1", Origin("environment")),
    ]


def test_an_assignment_is_cut_at_its_first_equals_sign():
    assert read_assignments(["a = b=c"]) == [Given("a", " b=c", Origin("command line"))]


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_an_assignment_without_key_or_sign_is_refused(text):
    with pytest.raises(ConfigError, match="must be key=value"):
        read_assignments([text])


def test_an_origin_is_shown_as_a_place():
    assert str(Origin("environment")) == "environment"
    assert str(Origin("TOML file", "a.toml", 3)) == "a.toml:3"
    assert str(Origin("TOML file", "a.toml")) == "a.toml"
