"""The README's examples, as they stand there but for the name server's address."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.java import CLIENT_MODULES
from tests.support.java_build import JAVA_ROOT
from tests.support.processes import Process
from tests.support.shmq_process import ShmqBroker

README: Final = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
DEFAULT_NAMESRV: Final = "127.0.0.1:9876"
DEADLINE_S: Final = 60.0

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShmqBroker]:
    started = ShmqBroker(tmp_path_factory.mktemp("readme"))
    try:
        yield started
        started.stop()
    finally:
        started.discard()


def example(language: str, broker: ShmqBroker) -> str:
    """The README's only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert DEFAULT_NAMESRV in found
    return str(found.replace(DEFAULT_NAMESRV, broker.namesrv_address))


def test_the_shell_lines_say_what_they_show(broker: ShmqBroker) -> None:
    (block,) = re.findall(r"In another terminal:\n\n```\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("   #")[0] for line in block.splitlines() if not line.startswith(". ")]
    assert "--follow" in lines[-1]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NAMESRV_ADDR": broker.namesrv_address}
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines[:-1])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert done.stdout.splitlines() == ["world"] * 3
    assert "sent 2 messages to hello" in done.stderr


def test_the_java_example_sends_and_receives(broker: ShmqBroker, tmp_path: Path) -> None:
    source = tmp_path / "Hello.java"
    source.write_text(example("java", broker), encoding="utf-8")
    libraries = JAVA_ROOT / list(CLIENT_MODULES.values())[-1] / "target" / "lib"
    subprocess.run(["javac", "-cp", f"{libraries}/*", source], cwd=tmp_path, timeout=DEADLINE_S, check=True)
    command: list[str | Path] = ["java", f"-Duser.home={tmp_path}", "-cp", f"{libraries}/*:.", "Hello"]
    with Process(command, log_path=tmp_path / "java.log", directory=tmp_path) as running:
        running.wait_line(lambda line: "SEND_OK" in line, DEADLINE_S)
        running.wait_line(lambda line: line == "from Java", DEADLINE_S)


def test_the_python_example_sends_and_receives(broker: ShmqBroker, tmp_path: Path) -> None:
    source = tmp_path / "hello.py"
    source.write_text(example("python", broker), encoding="utf-8")
    environment = {"HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(source)]
    with Process(command, log_path=tmp_path / "cpp.log", environment=environment) as running:
        running.wait_line(lambda line: "SendStatus.OK" in line, DEADLINE_S)
        running.wait_line(lambda line: "from C++" in line, DEADLINE_S)
