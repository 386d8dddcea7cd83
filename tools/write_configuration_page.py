"""Write docs/configuration.md from the settings themselves; run it after a change to one.

    python tools/write_configuration_page.py

`tests/unit/config/test_configuration_page.py` fails while the page in the repository is another.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

from shmq.config.setting import allowed_words, setting_of
from shmq.config.settings import Config
from shmq.config.values import show_value

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"

INTRODUCTION: Final = """\
# Configuration

<!-- Written by tools/write_configuration_page.py from shmq/config; do not edit. -->

`shmq-supervisor` runs without any configuration. A setting can be given in five places; each overrides the ones
before it:

| source | how | written as |
| --- | --- | --- |
| default | | see below |
| TOML file | `--config FILE` | `flush_disk_type = "SYNC_FLUSH"` |
| RocketMQ's properties file | `-c broker.conf` | `flushDiskType=SYNC_FLUSH` |
| environment | `SHMQ_` and the name in capitals | `SHMQ_FLUSH_DISK_TYPE=SYNC_FLUSH` |
| command line | `--set`, or the option of its own that some have | `--set flush_disk_type=SYNC_FLUSH` |

Options of their own: `--store-root`, `--listen`, `--namesrv-listen`, `--namesrv` (`namesrv_addresses`),
`--broker-name`, `--console-listen`; they override `--set`. Both files and `--set` take a setting's name as well as
RocketMQ's key for it. Within a source the later line wins.

`shmq-supervisor --print-config` shows every setting and where its value came from; its output is a TOML file.

- Sizes (`…_bytes…`) may be written `65536`, `64KiB`, `64k` or `1g`; units are powers of 1024.
- Durations (`…_ms…`) may be written `500`, `500ms`, `5s`, `2m`, `1h` or `1d`; a bare number is milliseconds, but
  seconds where RocketMQ's key ends in `Seconds`.
- Lists are parted by `,` or `;`, or are TOML arrays of strings. `~` in a path is the home directory.
- A bad value stops the start with exit code 2 and a message that names file, line, key, value and what is allowed.
- An unknown key is a warning that names the nearest known one. A key of RocketMQ's that has no meaning here is a
  note, or a warning if it turns on something that must not be missed in silence, such as `aclEnable`.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    declared = {field.name: field for field in fields(Config)}
    for group in reversed(Config.__mro__):
        names = [name for name in vars(group).get("__annotations__", ()) if name in declared]
        if names:
            rows = "".join(_row(declared[name]) for name in names)
            head = "| setting | RocketMQ's key | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n"
            yield f"## {(group.__doc__ or '').rstrip('.')}\n\n{head}{rows}"


def _row(declared: Field[Any]) -> str:
    setting = setting_of(declared)
    keys = ", ".join(f"`{key}`" for key in setting.java)
    default = setting.shown or _default(declared)
    cells = (f"`{declared.name}`", keys, default, allowed_words(declared), setting.doc)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |\n"


def _default(declared: Field[Any]) -> str:
    assert declared.default is not MISSING, f"{declared.name}: a default that is found needs `shown`"
    shown = show_value(declared, declared.default)
    return f"`{shown}`" if shown not in ("", "[]") else "empty"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
