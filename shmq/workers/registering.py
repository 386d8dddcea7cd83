"""Keep the broker registered at its name servers: links, what is due there, and what they answer."""

from collections.abc import Callable, Iterable
from typing import Any

from shmq.config.settings import Config
from shmq.errors import RequestError
from shmq.naming.registration import (
    Announcer,
    BrokerIdentity,
    Due,
    read_answer,
    registration,
    unregistration,
)
from shmq.wire.bodies import DataVersion
from shmq.wire.command import Command
from shmq.wire.topic_bodies import TopicConfig
from shmq.workers.link import Watcher
from shmq.workers.name_server_links import (
    Answered,
    Connected,
    Disconnected,
    Failed,
    LinkEvent,
    NameServerLinks,
)

_FAREWELL = "farewell"


class Registering:
    """The broker's side of its name servers.

    Attributes:
        accepted: how many registrations have been accepted.
    """

    def __init__(
        self,
        config: Config,
        watcher: Watcher,
        announced: Callable[[Iterable[str] | None], tuple[list[TopicConfig], DataVersion, tuple[str, ...]]],
        log: Any,
    ) -> None:
        """Take a function that gives the topics of these names (None: all), the tables' version, the filter servers."""
        self.accepted = 0
        servers = [config.namesrv_listen] if config.namesrv_listens else []
        servers += [each for each in config.namesrv_addresses if each not in servers]
        self._servers = servers
        self._timeout_ms = config.register_namesrv_timeout_ms
        self._announced = announced
        self._log = log
        self._identity = BrokerIdentity(
            cluster_name=config.cluster_name,
            broker_name=config.broker_name,
            broker_id=config.broker_id,
            address=config.effective_advertised_address(),
            ha_address=_with_port(config.effective_advertised_address(), config.ha_port),
            advertised_listeners=config.advertised_listeners,
            permission=config.broker_permission,
        )
        self._announcer = Announcer(servers, config.register_namesrv_interval_ms)
        self._links = NameServerLinks(servers, watcher, log)
        self._refusals: dict[str, str] = {}

    def topics_changed(self, names: Iterable[str] | None) -> None:
        """Some topics are new or different: say so at once."""
        self._announcer.topics_changed(names)

    def poll(self, now_ms: int) -> int:
        """Send what is due, read what was answered; return how much happened."""
        events = self._links.poll(now_ms)
        for event in events:
            self._take(event, now_ms)
        due = self._announcer.take_due(now_ms)
        for each in due:
            self._register(each, now_ms)
        return len(events) + len(due)

    def wait_ms(self, now_ms: int, longest_ms: int) -> int:
        """How long until there is something to do."""
        due_ms = min(self._links.due_ms, self._announcer.next_due_ms)
        return max(0, min(longest_ms, due_ms - now_ms))

    def say_farewell(self, now_ms: int) -> None:
        """Unregister everywhere; `has_left` says when that is done."""
        for server in self._servers:
            self._links.send(server, unregistration(self._identity), _FAREWELL, now_ms + 1000)

    @property
    def has_left(self) -> bool:
        """Whether nothing waits for an answer."""
        return self._links.pending_count == 0

    def close(self) -> None:
        """Close the links."""
        self._links.close()

    def _register(self, due: Due, now_ms: int) -> None:
        command: Command = registration(self._identity, *self._announced(due.topics))
        if not self._links.send(due.name_server, command, due, now_ms + self._timeout_ms):
            self._announcer.failed(due, now_ms)

    def _take(self, event: LinkEvent, now_ms: int) -> None:
        match event:
            case Connected(server):
                self._announcer.connected(server)
            case Disconnected(server):
                self._announcer.disconnected(server)
            case Answered(server, Due() as due, answer):
                self._take_answer(server, due, answer, now_ms)
            case Failed(server, Due() as due, reason):
                self._refuse(server, due, reason, now_ms)
            case _:
                self._log.debug("name server took notice", what=str(event))

    def _take_answer(self, server: str, due: Due, answer: Command, now_ms: int) -> None:
        try:
            read = read_answer(answer)
        except RequestError as error:
            self._refuse(server, due, error.remark, now_ms)
            return
        if not read.is_accepted:
            self._refuse(server, due, read.remark, now_ms)
            return
        self.accepted += 1
        if self._refusals.pop(server, None) is not None:
            self._log.info("registered again", name_server=server)

    def _refuse(self, server: str, due: Due, reason: str, now_ms: int) -> None:
        self._announcer.failed(due, now_ms)
        if self._refusals.get(server) != reason:
            self._refusals[server] = reason
            self._log.warning("not registered", name_server=server, reason=reason)


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"
