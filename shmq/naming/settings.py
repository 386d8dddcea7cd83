"""What an operator may change about a running name server, under RocketMQ's names.

As in RocketMQ, an update names any of them as `key=value` lines, keys that nobody knows are passed over, and those
of the black list are refused. Changes last until the name server stops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from shmq.config import properties_file
from shmq.errors import RequestError
from shmq.wire.codes import ResponseCode

ALWAYS_REFUSED: Final = frozenset({"configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"})


def _named(name: str, default: Any) -> Any:
    return field(default=default, metadata={"name": name})


@dataclass(slots=True)
class NamingSettings:
    """The settings.

    Attributes:
        all_topic_list_enable: answer who asks for all topics.
        config_black_list: further keys that no update may name, parted by semicolons.
        delete_topic_with_broker_registration: a topic that a broker registers without is removed from it. Only for
            brokers that register increments by 217.
        kv_config_path: where the key-value configuration is kept; to be seen, not set.
        notify_min_broker_id_changed: tell the members of a broker when its smallest id changes.
        order_message_enable: put an ordered topic's configuration into its routes.
        return_order_topic_config_to_broker: put all of it into the answer to a registration.
        scan_interval_ms: how often silent brokers are looked for.
        support_acting_master: show a broker's smallest id as its master where that is gone.
        topic_list_enable: answer who asks for some of the topics.
        wait_for_service: answer no route until wait_seconds have passed since the start.
        wait_seconds: how long that is.
    """

    all_topic_list_enable: bool = _named("enableAllTopicList", True)
    config_black_list: str = _named("configBlackList", "configBlackList;configStorePath;kvConfigPath")
    delete_topic_with_broker_registration: bool = _named("deleteTopicWithBrokerRegistration", False)
    kv_config_path: str = _named("kvConfigPath", "")
    notify_min_broker_id_changed: bool = _named("notifyMinBrokerIdChanged", False)
    order_message_enable: bool = _named("orderMessageEnable", False)
    return_order_topic_config_to_broker: bool = _named("returnOrderTopicConfigToBroker", True)
    scan_interval_ms: int = _named("scanNotActiveBrokerInterval", 5000)
    support_acting_master: bool = _named("supportActingMaster", False)
    topic_list_enable: bool = _named("enableTopicList", True)
    wait_for_service: bool = _named("needWaitForService", False)
    wait_seconds: int = _named("waitSecondsForService", 45)

    def render(self) -> bytes:
        """Return all settings as `key=value` lines."""
        lines = (f"{each.metadata['name']}={_to_text(getattr(self, each.name))}\n" for each in fields(self))
        return "".join(lines).encode()

    def update(self, text: str) -> tuple[str, ...]:
        """Take over `key=value` lines, all or none; return the keys that were set.

        Raises:
            RequestError: NO_PERMISSION for a key of the black list, INVALID_PARAMETER for what is no value.
        """
        given = _read(text)
        refused = ALWAYS_REFUSED.union(self.config_black_list.split(";"))
        if refused & given.keys():
            raise RequestError(ResponseCode.NO_PERMISSION, "Can not update config in black list.")
        known = {each.metadata["name"]: each.name for each in fields(self)}
        changed = {
            known[key]: _parse(key, value, type(getattr(self, known[key])))
            for key, value in given.items()
            if key in known
        }
        for attribute, value in changed.items():
            setattr(self, attribute, value)
        return tuple(key for key in given if key in known)


def _read(text: str) -> Mapping[str, str]:
    try:
        return {entry.key: entry.value for entry in properties_file.parse(text)}
    except properties_file.PropertiesError as error:
        raise RequestError(ResponseCode.INVALID_PARAMETER, f"line {error.line}: {error}") from error


def _parse(key: str, value: str, kind: type[Any]) -> bool | int | str:
    if kind is bool:
        return value.strip().lower() == "true"
    if kind is int:
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 2**31):
            raise RequestError(
                ResponseCode.INVALID_PARAMETER, f"{key} must be a positive number, not {value!r}"
            )
        return int(value)
    return value


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
