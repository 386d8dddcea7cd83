"""Java programs as child processes: the drivers, and RocketMQ's own name server, broker and administration tool.

Each gets a home of its own, so that no log or offset file lands in the user's, a small heap, and the flags that
RocketMQ needs on a modern JVM. Servers listen on loopback only.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.support.java_build import JAVA_ROOT
from tests.support.name_server_probe import wait_registered
from tests.support.ports import HOST, free_broker_port, free_port
from tests.support.processes import STOP_DEADLINE_S, Process, ProcessError

CLIENT_MODULES: Final = {"4.9.8": "client-4", "5.5.0": "client-5"}

BOOT_DEADLINE_S: Final = 90.0
UTF8: Final = {"LC_ALL": "C.UTF-8"}
"""Java takes its arguments in the character set of the locale."""

_ADMIN_DEADLINE_S: Final = 60.0

_OPENED: Final = ("java.nio", "java.lang", "sun.nio.ch", "jdk.internal.ref")
_JVM_FLAGS: Final = (
    "-XX:+UseSerialGC",
    *(flag for package in _OPENED for flag in ("--add-opens", f"java.base/{package}=ALL-UNNAMED")),
)
_CLIENT_FLAGS: Final = ("-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1")  # a short run: start fast
_SERVER_FLAGS: Final = ("-XX:TieredStopAtLevel=1", "-Xms256m", "-Xmx512m", "-XX:MaxDirectMemorySize=512m")


def driver_command(version: str, home: Path, *, serialize_type: str) -> list[str]:
    """Return the command, up to its arguments, of the driver on one client version."""
    target = JAVA_ROOT / CLIENT_MODULES[version] / "target"
    return [
        "java",
        *_CLIENT_FLAGS,
        *_JVM_FLAGS,
        f"-Duser.home={home}",
        f"-Drocketmq.client.logRoot={home}/client-logs",
        f"-Drocketmq.serialize.type={serialize_type}",
        "-cp",
        f"{target}/classes:{target}/lib/*",
        "shmq.interop.Driver",
    ]


class JavaNameServer:
    """RocketMQ's name server."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        configuration = {
            "listenPort": str(port),
            "bindAddress": HOST,
            "kvConfigPath": f"{directory}/kv.json",
            "scanNotActiveBrokerInterval": "1000",
        }
        self.process = _start_server("namesrv.NamesrvStartup", configuration, directory / "namesrv")

    def stop(self) -> None:
        """Stop it as an operator would."""
        self.process.terminate(STOP_DEADLINE_S)


class JavaBroker:
    """RocketMQ's broker, on a store directory."""

    def __init__(
        self,
        directory: Path,
        *,
        namesrv_address: str,
        store_root: Path,
        broker_name: str,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        port = free_broker_port()
        self.address = f"{HOST}:{port}"
        self.broker_name = broker_name
        self.store_root = store_root
        configuration = {
            "brokerName": broker_name,
            "brokerClusterName": "DefaultCluster",
            "brokerIP1": HOST,
            "brokerIP2": HOST,
            "bindAddress": HOST,
            "listenPort": str(port),
            "haListenPort": str(port + 1),
            "namesrvAddr": namesrv_address,
            "storePathRootDir": str(store_root),
            "mappedFileSizeCommitLog": str(16 << 20),
            "mappedFileSizeConsumeQueue": str(20 * 300),
            "waitTimeMillsInSendQueue": "20000",  # a loaded machine is no reason to refuse a send
            "timerWheelEnable": "false",
            **(overrides or {}),
        }
        self.process = _start_server("broker.BrokerStartup", configuration, directory / "broker")
        try:
            wait_registered(namesrv_address, broker_name, BOOT_DEADLINE_S)
        except BaseException:
            self.process.kill()
            raise

    def stop(self) -> None:
        """Stop it as an operator would: it flushes, and takes its abort file away."""
        self.process.terminate(STOP_DEADLINE_S)

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        self.process.kill()


def mqadmin(namesrv_address: str, home: Path, command: str, *arguments: str) -> str:
    """Run one command of RocketMQ's own administration tool; return what it prints."""
    home.mkdir(parents=True, exist_ok=True)
    words: list[str] = [
        "java",
        *_CLIENT_FLAGS,
        *_JVM_FLAGS,
        f"-Duser.home={home}",
        f"-Drocketmq.client.logRoot={home}/client-logs",
        "-cp",
        f"{JAVA_ROOT / 'broker' / 'target' / 'lib'}/*",
        "org.apache.rocketmq.tools.command.MQAdminStartup",
        command,
        *("-n", namesrv_address),
        *arguments,
    ]
    environment = {**os.environ, **UTF8, "ROCKETMQ_HOME": str(home)}
    done = subprocess.run(
        words,
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_ADMIN_DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        raise ProcessError(f"mqadmin {command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _start_server(main: str, configuration: Mapping[str, str], home: Path) -> Process:
    home.mkdir(parents=True, exist_ok=True)
    properties = home / "server.conf"
    properties.write_text("".join(f"{key}={value}\n" for key, value in configuration.items()))
    libraries = JAVA_ROOT / "broker" / "target" / "lib"
    command: list[str | Path] = [
        "java",
        *_SERVER_FLAGS,
        *_JVM_FLAGS,
        f"-Duser.home={home}",
        "-cp",
        f"{libraries}/*",
        f"org.apache.rocketmq.{main}",
        "-c",
        properties,
    ]
    process = Process(
        command, log_path=home / "output.log", environment={"ROCKETMQ_HOME": str(home)}, directory=home
    )
    try:
        process.wait_line(lambda line: "boot success" in line, BOOT_DEADLINE_S)
    except BaseException:
        process.kill()
        raise
    return process
