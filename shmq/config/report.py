"""What --print-config prints: the configuration as a TOML file that says where each value came from."""

from dataclasses import fields

from shmq.config.loading import Loaded
from shmq.config.values import write_value


def report(loaded: Loaded) -> str:
    """Return one line for each setting: name, value, origin. Fed back with --config it gives the same Config."""
    lines = []
    for declared in fields(loaded.config):
        value = write_value(getattr(loaded.config, declared.name))
        lines.append((f"{declared.name} = {value}", str(loaded.origins[declared.name])))
    width = min(60, max(len(line) for line, _ in lines))
    return "".join(f"{line:<{width}}  # {origin}\n" for line, origin in lines)
