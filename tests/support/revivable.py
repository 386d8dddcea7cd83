"""A broker that is killed whole and starts anew where clients knew it, while its name server stays."""

from pathlib import Path
from typing import Self

from tests.support.ports import free_broker_port
from tests.support.shmq_process import ShmqBroker, ShmqNameServer


class Revivable:
    """The broker of the moment.

    Attributes:
        broker: it.
        namesrv_address: of the name server.
    """

    def __init__(self, directory: Path, broker_name: str) -> None:
        self._directory = directory
        self._broker_name = broker_name
        self._port = free_broker_port()
        self._name_server = ShmqNameServer(directory / "namesrv")
        self._lives = 0
        self.namesrv_address = self._name_server.address
        self.broker = self._start()

    def revive(self) -> None:
        """Kill all its processes, and start it on the same store and port."""
        self.broker.kill()
        self.broker.discard()
        self.broker = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.broker.stop()
        finally:
            self.broker.discard()
            self._name_server.process.kill()

    def _start(self) -> ShmqBroker:
        self._lives += 1
        return ShmqBroker(
            self._directory / f"broker-{self._lives}",
            store_root=self._directory / "store",
            broker_name=self._broker_name,
            namesrv_addresses=self.namesrv_address,
            port=self._port,
        )
