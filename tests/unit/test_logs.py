import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shmq import logs
from shmq.errors import ConfigError


@pytest.fixture(autouse=True)
def _back_to_stderr():
    yield
    logs.start("test")


@pytest.fixture
def lines(tmp_path):
    def read(name=logs.LOG_FILE_NAME):
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    return read


def _descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_line_says_when_how_grave_who_and_what(tmp_path, lines):
    logs.start("net-0", str(tmp_path))
    logs.get("shmq.workers.network").info("frame refused", peer="127.0.0.1:5", size_bytes=3)
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "process": "net-0",
        "module": "workers.network",
        "event": "frame refused",
        "peer": "127.0.0.1:5",
        "size_bytes": 3,
    }


def test_the_directory_is_made(tmp_path):
    logs.start("a", str(tmp_path / "new" / "logs"))
    assert (tmp_path / "new" / "logs" / "shmq.log").stat().st_mode & 0o007 == 0


def test_less_severe_levels_are_left_out(tmp_path, lines):
    logs.start("a", str(tmp_path), level="warning")
    log = logs.get("m")
    log.debug("one")
    log.info("two")
    log.warning("three")
    log.error("four")
    assert [line["event"] for line in lines()] == ["three", "four"]


def test_a_logger_made_before_the_start_follows_it(tmp_path, lines):
    log = logs.get("m")
    logs.start("a", str(tmp_path))
    log.info("one")
    logs.start("b", str(tmp_path))
    log.info("two")
    assert [(line["process"], line["event"]) for line in lines()] == [("a", "one"), ("b", "two")]


def test_standard_error_is_for_people(tmp_path, capfd):
    logs.start("writer", str(tmp_path))
    logs.get("m").warning("disk slow", waited_ms=12, path="a b")
    assert re.fullmatch(r'\S+Z warning writer +disk slow waited_ms=12 path="a b"\n', capfd.readouterr().err)


def test_standard_error_may_be_json(tmp_path, capfd, lines):
    logs.start("writer", str(tmp_path), form="json")
    logs.get("m").warning("disk slow", waited_ms=12)
    assert [json.loads(capfd.readouterr().err)] == lines()


def test_text_of_a_peer_cannot_forge_a_line_or_a_field(tmp_path, capfd, lines):
    logs.start("net-0", str(tmp_path))
    logs.get("m").info("bad\ntopic", topic="x\n2026 error", group="a=b", empty="")
    printed = capfd.readouterr().err
    assert printed.count("\n") == 1
    assert r'"bad\ntopic" topic="x\n2026 error" group="a=b" empty=""' in printed
    assert lines()[0]["topic"] == "x\n2026 error"


def test_a_field_cannot_stand_in_for_a_standard_one(tmp_path, lines):
    logs.start("a", str(tmp_path))
    logs.get("m").info("event", timestamp="never", process="another")
    (line,) = lines()
    assert (line["process"], line["timestamp"][:2]) == ("a", "20")


@pytest.mark.parametrize("value", [2**70, "\ud800", b"\xff", {"a": {1: (2, 3)}}, object(), None])
def test_any_value_can_be_logged(tmp_path, lines, value):
    logs.start("a", str(tmp_path))
    logs.get("m").info("value", value=value)
    assert "value" in lines()[0]


def test_an_exception_comes_with_its_traceback(tmp_path, capfd, lines):
    logs.start("a", str(tmp_path))
    try:
        int("reason")
    except ValueError:
        logs.get("m").exception("failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert "ValueError: invalid literal" in line["exception"]
    assert "    ValueError: invalid literal" in capfd.readouterr().err


def test_a_moved_file_is_left_at_reopening(tmp_path, lines):
    logs.start("a", str(tmp_path))
    log = logs.get("m")
    log.info("one")
    (tmp_path / "shmq.log").rename(tmp_path / "shmq.log.1")
    log.info("two")
    logs.reopen()
    log.info("three")
    assert [line["event"] for line in lines("shmq.log.1")] == ["one", "two"]
    assert [line["event"] for line in lines()] == ["three"]


def test_a_failed_reopening_keeps_the_old_file(tmp_path, lines):
    logs.start("a", str(tmp_path / "logs"))
    (tmp_path / "logs").rename(tmp_path / "moved")
    (tmp_path / "logs").write_text("in the way")
    logs.reopen()
    assert [line["event"] for line in lines("moved/shmq.log")] == ["log file not reopened"]


def test_reopening_without_a_file_does_nothing(capfd):
    logs.start("a")
    logs.reopen()
    assert capfd.readouterr().err == ""


def test_no_descriptor_is_left_open(tmp_path):
    logs.start("a", str(tmp_path))
    before = _descriptors()
    for _ in range(5):
        logs.start("a", str(tmp_path))
        logs.reopen()
    assert _descriptors() == before


def test_a_directory_that_cannot_be_made_is_the_operators_fault(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"log_directory: .*file/logs/shmq\.log: cannot be opened"):
        logs.start("a", str(tmp_path / "file" / "logs"))


def test_a_full_disk_is_told_on_standard_error_and_stops_nothing(tmp_path, capfd):
    (tmp_path / "shmq.log").symlink_to("/dev/full")
    logs.start("a", str(tmp_path))
    logs.get("m").info("event")
    printed = capfd.readouterr().err
    assert "shmq.log: cannot be written: No space left on device" in printed
    assert " event\n" in printed


def test_lines_of_forked_processes_never_mix(tmp_path, lines):
    logs.start("parent", str(tmp_path), form="json")
    log = logs.get("m")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                logs.start(f"child-{number}", str(tmp_path))
                for count in range(200):
                    log.info("event", count=count, padding="x" * 300)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    log.info("last")
    written = lines()
    assert written[-1]["process"] == "parent"
    for number in range(4):
        counts = [line["count"] for line in written if line["process"] == f"child-{number}"]
        assert counts == list(range(200))


def test_before_the_start_lines_go_to_standard_error_alone():
    code = "from shmq import logs; logs.get('shmq.m').info('early', n=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert re.search(r"Z info .* early n=1\n$", done.stderr)


def test_importing_the_module_does_not_import_structlog():
    code = "import sys, shmq.logs; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
