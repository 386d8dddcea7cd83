"""Config: every setting of a broker, in one frozen dataclass that is right or does not exist.

The fields stand in groups, in the modules `*_settings`; each is declared with `setting()`, which holds its default, its
text and RocketMQ's key for it. `__post_init__` fills in what follows from other fields, then checks
each field by its rule and all of them against each other; it raises SettingError, a ConfigError. Where values come
from is the matter of `shmq.config.sources`.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from shmq.config.addresses import (
    PORT_MAX,
    is_wildcard,
    join_address,
    outside_address,
    split_address,
)
from shmq.config.broker_settings import (
    NAMESRV_LISTEN_DEFAULT,
    AddressSettings,
    ServiceSettings,
    UpkeepSettings,
)
from shmq.config.consuming_settings import ConversationSettings
from shmq.config.cpu_pinning import AUTO, pinned_cpus
from shmq.config.filter_settings import FilterSettings
from shmq.config.host_settings import NetworkSettings, ProcessSettings, StoreSettings
from shmq.config.pop_settings import PopSettings
from shmq.config.retention_settings import RetentionSettings
from shmq.config.setting import OFF, SettingError, allowed_words, setting_of
from shmq.config.timer_settings import TimerSettings
from shmq.config.transaction_settings import TransactionSettings
from shmq.config.units import INT32_MAX, KIB, read_ms

QUEUE_ENTRY_BYTES: Final = 20
KEY_INDEX_HEAD_BYTES: Final = 40
KEY_SLOT_BYTES: Final = 4
KEY_ENTRY_BYTES: Final = 20
RECORD_OVERHEAD_BYTES_MAX: Final = 64 * KIB  # beside a record's body: fixed fields, topic, properties
VIP_PORT_DISTANCE: Final = 2
PATHS: Final = ("store_root", "commit_log_directory", "log_directory", "namesrv_kv_path", "ready_file")

# The first base is the last group: dataclasses collect fields from the far end of the bases.


@dataclass(frozen=True, kw_only=True)
class Config(
    ProcessSettings,
    NetworkSettings,
    UpkeepSettings,
    FilterSettings,
    ConversationSettings,
    ServiceSettings,
    PopSettings,
    TimerSettings,
    RetentionSettings,
    TransactionSettings,
    StoreSettings,
    AddressSettings,
):
    """All settings of one broker; docs/configuration.md is generated from them."""

    def __post_init__(self) -> None:
        """Fill in what follows from other settings, then check the whole."""
        self._complete()
        for declared in fields(self):
            rule = setting_of(declared).rule
            value = getattr(self, declared.name)
            if not rule.holds(value):
                raise SettingError((declared.name,), value, allowed_words(declared))
        self._check_role()
        self._check_ports()
        self._check_sizes()
        self._check_pinning()

    @property
    def listen_host(self) -> str:
        """The host part of `listen`."""
        return split_address(self.listen)[0]

    @property
    def listen_port(self) -> int:
        """The port part of `listen`."""
        return split_address(self.listen)[1]

    @property
    def vip_port(self) -> int:
        """The port of the VIP channel, whether or not it is enabled."""
        return self.listen_port - VIP_PORT_DISTANCE

    @property
    def ha_port(self) -> int:
        """The port on which replicas connect."""
        return self.listen_port + 1

    @property
    def namesrv_listens(self) -> bool:
        """Whether the embedded name server runs."""
        return self.namesrv_listen != OFF

    @property
    def console_listens(self) -> bool:
        """Whether the HTTP console runs."""
        return self.console_listen != OFF

    @property
    def delay_levels_ms(self) -> tuple[int, ...]:
        """The delay of each level; level 1 is at index 0."""
        return tuple(read_ms(level) for level in self.message_delay_levels.split(" "))

    @property
    def vip_listen(self) -> str:
        """Return the host:port of the VIP channel."""
        return join_address(self.listen_host, self.vip_port)

    @property
    def pinned_cpus(self) -> dict[str, int]:
        """The CPU of each process that stays on one, by the process's name."""
        strategies = (
            self.writer_wait_strategy,
            self.dispatcher_wait_strategy,
            self.network_wait_strategy,
        )
        cpus = sorted(os.sched_getaffinity(0))
        return pinned_cpus(self.cpu_pinning, self.network_workers, cpus, strategies=strategies)

    @property
    def pins_threads(self) -> bool:
        """Whether all threads of such a process stay there, or only the one that is on a message's way."""
        return self.cpu_pinning != AUTO

    def effective_advertised_address(self) -> str:
        """Return the host:port that clients are told to dial, and that message ids carry."""
        advertised = self.advertised_address
        if advertised.startswith("[") or advertised.count(":") == 1:
            return advertised
        if advertised:
            return join_address(advertised, self.listen_port)
        if not is_wildcard(self.listen_host):
            return self.listen
        return join_address(outside_address() or "127.0.0.1", self.listen_port)

    def _complete(self) -> None:
        if not self.namesrv_listen:
            self._set("namesrv_listen", OFF if self.namesrv_addresses else NAMESRV_LISTEN_DEFAULT)
        for role in ("writer", "dispatcher", "network"):
            if not getattr(self, f"{role}_wait_strategy"):
                self._set(f"{role}_wait_strategy", self.wait_strategy)
        if not self.commit_log_directory and self.store_root:
            self._set("commit_log_directory", str(Path(self.store_root) / "commitlog"))
        for name in PATHS:
            path = getattr(self, name)
            if path:
                self._set(name, str(Path(path).expanduser().absolute()))
        entries = -(-self.consume_queue_file_bytes // QUEUE_ENTRY_BYTES)
        self._set("consume_queue_file_bytes", entries * QUEUE_ENTRY_BYTES)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # frozen for everybody else

    def _check_role(self) -> None:
        if self.broker_role == "SLAVE":
            raise SettingError(
                ("broker_role",),
                self.broker_role,
                "ASYNC_MASTER or SYNC_MASTER: replication is not built yet",
            )
        if self.broker_id != 0:
            raise SettingError(("broker_id", "broker_role"), self.broker_id, "0, the id of a master")

    def _check_ports(self) -> None:
        least = 1 + VIP_PORT_DISTANCE if self.vip_listen_enable else 1
        if not least <= self.listen_port < PORT_MAX:
            raise SettingError(
                ("listen", "vip_listen_enable"),
                self.listen,
                f"HOST:PORT with a port from {least} to {PORT_MAX - 1}: its neighbours are used too",
            )
        taken = {self.listen_port: "listen"}
        if self.vip_listen_enable:
            taken[self.vip_port] = "the VIP channel of listen"
        for name in ("namesrv_listen", "console_listen"):
            text = getattr(self, name)
            if text == OFF:
                continue
            port = split_address(text)[1]
            if port in taken:
                raise SettingError((name, "listen"), text, f"on another port than {taken[port]}")
            taken[port] = name

    def _check_sizes(self) -> None:
        message = self.message_bytes_max + RECORD_OVERHEAD_BYTES_MAX
        if self.submit_ring_bytes < 2 * message:
            raise SettingError(
                ("submit_ring_bytes", "message_bytes_max"),
                self.submit_ring_bytes,
                f"at least {2 * message}: two messages of message_bytes_max and their heads",
            )
        if self.frame_bytes_max < message:
            raise SettingError(
                ("frame_bytes_max", "message_bytes_max"),
                self.frame_bytes_max,
                f"at least {message}: a message of message_bytes_max and its head",
            )
        index_bytes = KEY_SLOT_BYTES * self.key_index_slots + KEY_ENTRY_BYTES * self.key_index_entries
        if KEY_INDEX_HEAD_BYTES + index_bytes > INT32_MAX:
            raise SettingError(
                ("key_index_slots", "key_index_entries"),
                self.key_index_slots,
                f"so few that a file of them has at most {INT32_MAX} bytes",
            )
        if self.restart_delay_ms_max < self.restart_delay_ms_min:
            raise SettingError(
                ("restart_delay_ms_max", "restart_delay_ms_min"),
                self.restart_delay_ms_max,
                f"at least restart_delay_ms_min, {self.restart_delay_ms_min}",
            )

    def _check_pinning(self) -> None:
        try:
            _ = self.pinned_cpus
        except ValueError as error:
            raise SettingError(("cpu_pinning", "network_workers"), self.cpu_pinning, str(error)) from error
