import pytest

from shmq.config.java_keys import RELIED_ON, WITHOUT_EFFECT
from shmq.config.loading import JAVA_KEYS, SETTINGS, Sources, load
from shmq.config.sources import Given, Origin
from shmq.errors import ConfigError

OPTION = Origin("command line --broker-name")


@pytest.fixture
def toml(tmp_path):
    def write(text):
        path = tmp_path / "shmq.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def conf(tmp_path):
    def write(text):
        path = tmp_path / "broker.conf"
        path.write_text(text)
        return str(path)

    return write


def test_nothing_given_is_all_defaults():
    loaded = load(Sources())
    assert loaded.config.cluster_name == "DefaultCluster"
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}
    assert set(loaded.origins) == set(SETTINGS)


def test_each_source_overrides_the_ones_before_it(toml, conf):
    given = {
        "toml_file": toml('broker_name = "toml"\n'),
        "broker_conf": conf("brokerName=conf\n"),
        "environment": {"SHMQ_BROKER_NAME": "environment"},
        "assignments": ("broker_name=set",),
        "options": (Given("broker_name", "option", OPTION),),
    }
    so_far = {}
    for source, expected in zip(given, ("toml", "conf", "environment", "set", "option"), strict=True):
        so_far[source] = given[source]
        assert load(Sources(**so_far)).config.broker_name == expected


def test_a_value_remembers_where_it_came_from(toml, conf):
    toml_file, broker_conf = toml("topics_max = 70\n"), conf("\nbrokerName=b\n")
    loaded = load(
        Sources(
            toml_file=toml_file,
            broker_conf=broker_conf,
            environment={"SHMQ_GROUPS_MAX": "18"},
            assignments=("trace_topic_enable=true",),
            options=(Given("cluster_name", "c", Origin("command line --cluster-name")),),
        )
    )
    names = ("topics_max", "broker_name", "groups_max", "trace_topic_enable", "cluster_name", "listen")
    assert [str(loaded.origins[name]) for name in names] == [
        f"{toml_file}:1",
        f"{broker_conf}:2",
        "environment",
        "command line",
        "command line --cluster-name",
        "default",
    ]


def test_the_later_of_two_lines_wins(conf):
    loaded = load(Sources(broker_conf=conf("brokerName=a\nbrokerName=b\n")))
    assert loaded.config.broker_name == "b"
    assert loaded.origins["broker_name"].line == 2


def test_the_keys_of_a_java_broker_are_understood(conf):
    text = """
        brokerName = broker-a
        brokerClusterName = Cluster
        brokerId = 0
        brokerIP1 = 192.0.2.1
        namesrvAddr = 192.0.2.2:9876;192.0.2.3:9876
        storePathRootDir = /data/store
        storePathCommitLog = /data/log
        flushDiskType = SYNC_FLUSH
        brokerRole = SYNC_MASTER
        autoCreateTopicEnable = false
        autoCreateSubscriptionGroup = false
        defaultTopicQueueNums = 4
        mapedFileSizeCommitLog = 1048576
        mappedFileSizeConsumeQueue = 100000
        maxMessageSize = 65536
        messageDelayLevel = 1s 2s
        waitTimeMillsInSendQueue = 300
        serverChannelMaxIdleTimeSeconds = 60
    """
    config = load(Sources(broker_conf=conf(text))).config
    assert (config.broker_name, config.cluster_name, config.broker_id) == ("broker-a", "Cluster", 0)
    assert config.effective_advertised_address() == "192.0.2.1:10911"
    assert config.namesrv_addresses == ("192.0.2.2:9876", "192.0.2.3:9876")
    assert not config.namesrv_listens
    assert (config.store_root, config.commit_log_directory) == ("/data/store", "/data/log")
    assert (config.flush_disk_type, config.broker_role) == ("SYNC_FLUSH", "SYNC_MASTER")
    assert (config.auto_create_topic_enable, config.auto_create_group_enable) == (False, False)
    assert config.default_topic_queue_nums == 4
    assert (config.commit_log_file_bytes, config.consume_queue_file_bytes) == (1_048_576, 100_000)
    assert (config.message_bytes_max, config.delay_levels_ms) == (65_536, (1000, 2000))
    assert (config.send_wait_ms_max, config.connection_idle_ms) == (300, 60_000)


def test_the_newer_spelling_of_a_file_size_is_understood_too(conf):
    assert (
        load(Sources(broker_conf=conf("mappedFileSizeCommitLog=8192"))).config.commit_log_file_bytes == 8192
    )


def test_a_java_port_keeps_the_host_and_a_java_host_the_port(toml, conf):
    assert load(Sources(broker_conf=conf("listenPort=20911"))).config.listen == "127.0.0.1:20911"
    assert load(Sources(broker_conf=conf("bindAddress=0.0.0.0"))).config.listen == "0.0.0.0:10911"
    both = Sources(toml_file=toml('listen = "[::1]:1000"\n'), broker_conf=conf("listenPort=20911"))
    assert load(both).config.listen == "[::1]:20911"
    assert load(Sources(assignments=("bindAddress=::", "listenPort=7000"))).config.listen == "[::]:7000"


def test_our_names_are_understood_beside_java_keys_in_every_file(toml, conf):
    assert load(Sources(broker_conf=conf("flush_interval_ms=2s"))).config.flush_interval_ms == 2000
    assert load(Sources(toml_file=toml('brokerName = "b"\n'))).config.broker_name == "b"


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [("brokrName=b\n", "brokrName", "brokerName"), ("storeroot=/x\n", "storeroot", "store_root")],
)
def test_an_unknown_key_is_a_warning_with_the_nearest_known_one(conf, text, key, nearest):
    path = conf(text)
    (warning,) = load(Sources(broker_conf=path)).warnings
    assert warning == f"{path}:1: unknown key '{key}' is ignored; the nearest known one is '{nearest}'"


def test_an_unknown_variable_is_compared_with_variables():
    (warning,) = load(Sources(environment={"SHMQ_STORE_ROT": "/x"})).warnings
    assert warning == (
        "environment: unknown key 'SHMQ_STORE_ROT' is ignored; the nearest known one is 'SHMQ_STORE_ROOT'"
    )


def test_a_java_key_without_meaning_here_is_a_note_and_no_warning(conf):
    path = conf("sendMessageThreadPoolNums=16\n")
    loaded = load(Sources(broker_conf=path))
    assert loaded.notes == (
        f"{path}:1: sendMessageThreadPoolNums is known to RocketMQ and has no effect here",
    )
    assert loaded.warnings == ()


@pytest.mark.parametrize("key", sorted(RELIED_ON))
def test_protection_that_stays_off_is_a_warning(conf, key):
    loaded = load(Sources(broker_conf=conf(f"{key}=true\n")))
    assert f"{key} is not supported here" in loaded.warnings[0]
    assert load(Sources(broker_conf=conf(f"{key}=false\n"))).warnings == ()


def test_no_java_key_is_both_used_and_without_effect():
    assert not WITHOUT_EFFECT & set(JAVA_KEYS)
    assert RELIED_ON <= WITHOUT_EFFECT


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("listenPort=many", "a port, from 1 to 65535"),
        ("listenPort=0", "a port, from 1 to 65535"),
        ("bindAddress=a b", "a host name or an address of this machine"),
        ("flushDiskType=LATER", "one of ASYNC_FLUSH, SYNC_FLUSH"),
        ("autoCreateTopicEnable=yes", "true or false"),
        ("mappedFileSizeCommitLog=12", "a size such as 65536 or 64KiB, from 4096 to 2147483647"),
        ("flushIntervalCommitLog=soon", "a duration such as 500ms or 5s, from 1 to 2147483647"),
        ("namesrvAddr=here", "HOST:PORT;HOST:PORT…, or empty"),
        ("brokerRole=SLAVE", "ASYNC_MASTER or SYNC_MASTER: replication is not built yet"),
    ],
)
def test_a_bad_value_is_refused_with_file_line_key_value_and_what_is_allowed(conf, line, allowed):
    path = conf(f"# a comment\n{line}\n")
    key, _, value = line.partition("=")
    with pytest.raises(ConfigError) as caught:
        load(Sources(broker_conf=path))
    assert str(caught.value) == f"{path}:2: {key} = {value!r}: must be {allowed}"


def test_a_bad_value_of_toml_is_refused_with_its_place(toml):
    path = toml("\ntopics_max = true\n")
    with pytest.raises(ConfigError) as caught:
        load(Sources(toml_file=path))
    assert str(caught.value) == f"{path}:2: topics_max = True: must be a whole number, from 64 to 4194304"


def test_a_bad_variable_is_refused_by_its_name():
    with pytest.raises(ConfigError, match=r"^environment: SHMQ_LISTEN = 'x': must be HOST:PORT"):
        load(Sources(environment={"SHMQ_LISTEN": "x"}))


def test_the_blame_falls_on_what_was_given_and_not_on_a_default():
    with pytest.raises(ConfigError) as caught:
        load(Sources(assignments=("maxMessageSize=9000000",)))
    assert str(caught.value).startswith(
        "command line: maxMessageSize = '9000000': submit_ring_bytes = 16777216 must be at least"
    )


def test_a_bad_value_is_refused_though_a_later_source_overrides_it(conf):
    with pytest.raises(ConfigError, match="brokerId"):
        load(Sources(broker_conf=conf("brokerId=first"), assignments=("broker_id=0",)))
