"""PopDesk: what one network worker remembers of pops, and what pops that wait listen for.

Pops of one queue that are on their way to the conductor at the same time form a *chain*: each begins where the one
before will have moved the cursor, if that is granted. So two consumers of one worker do not ask for the same messages.
Where a pop was refused the chain is broken, and the next ones begin at the cursor again. All of it may be lost.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shmq.broker.updates import PopFreedUpdate, TopicUpdate, Update


@dataclass(slots=True, eq=False)
class Chain:
    """Pops of one queue on their way.

    Attributes:
        end: where the cursor is when all of them are granted.
        asked: how many they are.
    """

    end: int
    asked: int = 0


class PopDesk:
    """Chains of queues, and how many pops wait.

    Attributes:
        count_held: says how many requests wait under a key, or altogether under none; the worker sets it.
    """

    def __init__(self) -> None:
        self.count_held: Callable[[str], int] = _none
        self._chains: dict[tuple[int, int], Chain] = {}

    def ahead(self, group_id: int, slot: int, committed: int) -> int:
        """Return where a pop begins: at the end of the queue's chain, or where the cursor was told to be."""
        chain = self._chains.get((group_id, slot))
        return committed if chain is None else chain.end

    def join(self, group_id: int, slot: int, end: int) -> Chain:
        """Note that a pop asks for messages up to an end."""
        chain = self._chains.get((group_id, slot))
        if chain is None:
            chain = self._chains[group_id, slot] = Chain(end)
        chain.end = end
        chain.asked += 1
        return chain

    def leave(self, group_id: int, slot: int, chain: Chain, *, is_granted: bool) -> None:
        """Note that a pop was answered."""
        chain.asked -= 1
        is_over = not is_granted or not chain.asked
        if is_over and self._chains.get((group_id, slot)) is chain:
            del self._chains[group_id, slot]


def held_key(topic: str, group: str, queue_id: int) -> str:
    """Return the key under which pops of a queue wait; all negative queue ids mean any queue."""
    return f"{topic}@{group}@{max(queue_id, -1)}"


def topic_news(topic: str) -> str:
    """Return what a pop listens for that waits for a topic to be made."""
    return f"topic {topic}"


def freed_news(group: str, topic: str) -> str:
    """Return what a pop listens for that waits for a queue to be free again."""
    return f"freed {group} {topic}"


def news_of(update: Update) -> str | None:
    """Return what those listen for whom an update may concern."""
    match update:
        case TopicUpdate(name):
            return topic_news(name)
        case PopFreedUpdate(group, topic):
            return freed_news(group, topic)
        case _:
            return None


def _none(_key: str) -> int:
    return 0
