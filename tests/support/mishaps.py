"""What may go wrong in the middle of an interop scenario.

Of shmq single processes are killed, which RocketMQ's broker does not have; against that one the scenario goes on as it is.
"""

from tests.support.endpoints import Endpoint
from tests.support.shmq_process import ShmqBroker


def kill_worker(endpoint: Endpoint) -> None:
    """Kill a network worker: its clients' connections break."""
    _kill(endpoint, "net-0")


def kill_conductor(endpoint: Endpoint) -> None:
    """Kill the conductor: what it was asked and had not answered is asked again."""
    _kill(endpoint, "conductor")


def kill_dispatcher(endpoint: Endpoint) -> None:
    """Kill the dispatcher: for a moment nothing new is found in queues and by keys."""
    _kill(endpoint, "dispatcher")


def _kill(endpoint: Endpoint, name: str) -> None:
    if isinstance(endpoint.broker, ShmqBroker):
        endpoint.broker.worker(name).kill()
