import os
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from shmq import __version__
from shmq.cli import main, namesrv, supervisor
from shmq.commands.lazy import COMMANDS


@pytest.fixture
def run(monkeypatch):
    """Run a command as a process of a clean environment would."""
    for name in [name for name in os.environ if name.startswith("SHMQ_")]:
        monkeypatch.delenv(name)
    runner = CliRunner()
    return lambda command, *arguments, **environment: runner.invoke(command, arguments, env=environment)


def _python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("SHMQ_")},
    )


def _printed(run, *arguments, **environment):
    result = run(supervisor, "--print-config", *arguments, **environment)
    assert result.exit_code == 0, result.output
    origins = {
        line.split(" = ")[0]: line.rpartition("  # ")[2]
        for line in result.stdout.splitlines()
        if " = " in line
    }
    return tomllib.loads(result.stdout), origins


@pytest.mark.parametrize("command", [main, supervisor, namesrv])
def test_each_program_tells_its_version(run, command):
    assert run(command, "--version").stdout.endswith(f" {__version__}\n")


@pytest.mark.parametrize("command", [supervisor, namesrv])
def test_a_server_tells_its_options(run, command):
    assert "--listen HOST:PORT" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("option", "text", "name", "value"),
    [
        ("--store-root", "/data", "store_root", "/data"),
        ("--listen", "0.0.0.0:20911", "listen", "0.0.0.0:20911"),
        ("--namesrv-listen", "off", "namesrv_listen", "off"),
        ("--namesrv", "a:1;b:2", "namesrv_addresses", ["a:1", "b:2"]),
        ("--broker-name", "b", "broker_name", "b"),
        ("--console-listen", "127.0.0.1:8080", "console_listen", "127.0.0.1:8080"),
    ],
)
def test_an_option_sets_what_it_is_named_after(run, option, text, name, value):
    values, origins = _printed(run, option, text)
    assert values[name] == value
    assert origins[name] == f"command line {option}"


def test_any_setting_can_be_set_and_set_again(run):
    values, origins = _printed(
        run, "--set", "topics_max=80", "--set", "brokerName=b", "--set", "topics_max=90"
    )
    assert (values["topics_max"], values["broker_name"]) == (90, "b")
    assert origins["topics_max"] == "command line"


def test_an_option_of_its_own_overrides_set(run):
    assert _printed(run, "--broker-name", "a", "--set", "broker_name=b")[0]["broker_name"] == "a"


def test_sources_rise_from_toml_to_the_command_line(run, tmp_path):
    toml, conf = tmp_path / "a.toml", tmp_path / "broker.conf"
    toml.write_text('broker_name = "t"\ncluster_name = "t"\ntopics_max = 81\ngroups_max = 21\n')
    conf.write_text("brokerName=c\nbrokerClusterName=c\ntopics_max=82\n")
    values, origins = _printed(
        run,
        "--config",
        str(toml),
        "-c",
        str(conf),
        "--broker-name",
        "o",
        SHMQ_CLUSTER_NAME="e",
        SHMQ_BROKER_NAME="e",
    )
    names = ("broker_name", "cluster_name", "topics_max", "groups_max")
    assert [values[name] for name in names] == ["o", "e", 82, 21]
    assert [origins[name] for name in names] == [
        "command line --broker-name",
        "environment",
        f"{conf}:3",
        f"{toml}:4",
    ]


def test_warnings_and_notes_are_told_on_standard_error(run, tmp_path):
    conf = tmp_path / "broker.conf"
    conf.write_text("brokrName=b\nslaveReadEnable=true\n")
    result = run(supervisor, "--print-config", "-c", str(conf))
    assert f"warning: {conf}:1: unknown key 'brokrName'" in result.stderr
    assert f"note: {conf}:2: slaveReadEnable is known to RocketMQ" in result.stderr
    assert "brokrName" not in result.stdout


def test_a_bad_value_ends_with_code_2_and_names_its_place(run, tmp_path):
    conf = tmp_path / "broker.conf"
    conf.write_text("\nflushDiskType=NEVER\n")
    result = run(supervisor, "-c", str(conf))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {conf}:2: flushDiskType = 'NEVER': must be one of ASYNC_FLUSH, SYNC_FLUSH\n"
    )
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--listen", "nowhere"),
        ("--set", "nothing"),
        ("--set", "trace_topic_enable=perhaps"),
        ("--config", "/nonexistent/a.toml"),
        ("-c", "/nonexistent/broker.conf"),
        ("--no-such-option",),
    ],
)
def test_what_cannot_be_ends_with_code_2(run, arguments):
    assert run(supervisor, *arguments).exit_code == 2


def test_the_process_itself_ends_with_code_2():
    done = _python("from shmq.cli import supervisor; supervisor()", "--set", "listenPort=x")
    assert done.returncode == 2
    assert done.stderr == "error: command line: listenPort = 'x': must be a port, from 1 to 65535\n"
    assert done.stdout == ""


def test_a_name_server_without_a_port_ends_with_code_2(run):
    result = run(namesrv, "--listen", "127.0.0.1")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: command line: --listen 127.0.0.1: must be HOST:PORT")


def test_help_and_print_config_compile_and_map_nothing():
    code = """
import sys
from click.testing import CliRunner
from shmq.cli import namesrv, supervisor
for command, option in ((supervisor, "--help"), (supervisor, "--print-config"), (namesrv, "--help")):
    assert CliRunner().invoke(command, [option]).exit_code == 0
print(sorted({"numba", "numpy", "posix_ipc", "structlog", "psutil", "shmq.supervisor"} & set(sys.modules)))
"""
    done = _python(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_group_lists_its_commands_without_importing_them():
    code = """
import sys, click
from shmq.cli import main
print(main.list_commands(click.Context(main)), any("shmq.client" in name for name in sys.modules))
"""
    assert _python(code).stdout == f"{sorted(COMMANDS)} False\n"


def test_an_unknown_command_is_refused(run):
    result = run(main, "frobnicate")
    assert result.exit_code == 2
    assert "No such command" in result.stderr
