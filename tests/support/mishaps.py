"""What may go wrong in the middle of an interop scenario.

Of shmq single processes are killed, which RocketMQ's broker does not have; against that one the scenario goes on as it is.
"""

from tests.support.drivers import Client
from tests.support.endpoints import Endpoint
from tests.support.shmq_process import ShmqBroker


def kill_worker(endpoint: Endpoint) -> None:
    """Kill a network worker: its clients' connections break."""
    _kill(endpoint, "net-0")


def kill_near(client: Client, endpoint: Endpoint) -> None:
    """Kill the network worker of a client; of an old one's broker the dispatcher.

    When its connection breaks, RocketMQ's library of 4.9 waits for the answer to its pull until 30 s are over. One
    scenario shows that it goes on then; the others need not wait.
    """
    _kill(endpoint, "dispatcher" if client.kind.startswith("4.") else "net-0")


def kill_conductor(endpoint: Endpoint) -> None:
    """Kill the conductor: what it was asked and had not answered is asked again."""
    _kill(endpoint, "conductor")


def kill_dispatcher(endpoint: Endpoint) -> None:
    """Kill the dispatcher: for a moment nothing new is found in queues and by keys."""
    _kill(endpoint, "dispatcher")


def _kill(endpoint: Endpoint, name: str) -> None:
    if isinstance(endpoint.broker, ShmqBroker):
        endpoint.broker.kill_worker(name)
