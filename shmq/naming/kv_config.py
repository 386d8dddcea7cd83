"""The name server's key-value configuration: namespaces of keys and values, its only lasting state.

Its document is RocketMQ's `kvConfig.json`: {"configTable":{namespace:{key:value}}}. Who owns the tables saves it
whenever `is_changed`.
"""

from collections.abc import Mapping
from typing import Final

from shmq.wire import fastjson
from shmq.wire.members import object_of, read_object, text_map_of

ORDER_TOPIC_CONFIG: Final = "ORDER_TOPIC_CONFIG"  # the namespace of ordered topics: `broker-a:4;broker-b:4`


class KVConfig:
    """The namespaces.

    Attributes:
        is_changed: whether the document is to be saved; for its keeper to reset.
    """

    def __init__(self) -> None:
        self.is_changed = False
        self._namespaces: dict[str, dict[str, str]] = {}

    def load(self, document: bytes) -> None:
        """Take over a document.

        Raises:
            RequestError: it is none.
        """
        self._namespaces = parse_document(document)

    def render(self) -> bytes:
        """Return the document."""
        return fastjson.dumps({"configTable": self._namespaces})

    def put(self, namespace: str, key: str, value: str) -> None:
        """Set a value."""
        self._namespaces.setdefault(namespace, {})[key] = value
        self.is_changed = True

    def get(self, namespace: str, key: str) -> str | None:
        """Return a value."""
        return self._namespaces.get(namespace, {}).get(key)

    def delete(self, namespace: str, key: str) -> None:
        """Remove a value; its namespace stays, if empty."""
        self._namespaces.get(namespace, {}).pop(key, None)
        self.is_changed = True

    def namespace(self, namespace: str) -> Mapping[str, str] | None:
        """Return all of a namespace."""
        return self._namespaces.get(namespace)


def parse_document(document: bytes) -> dict[str, dict[str, str]]:
    """Return the namespaces of a document.

    Raises:
        RequestError: it is none.
    """
    table = object_of(read_object(document), "configTable")
    return {namespace: text_map_of(table, namespace) for namespace in table}
