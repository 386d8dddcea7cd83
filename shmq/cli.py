"""The three programs: `shmq`, `shmq-supervisor` and `shmq-namesrv`.

Arguments to a Config, and a Config to whoever serves; nothing else. Exit code 2 means that the operator asked for
what cannot be, 1 that it failed. What compiles or maps memory is imported when it is needed: --help, --version and
--print-config answer at once.
"""

import os
import sys
from collections.abc import Callable

import click

from shmq import __version__
from shmq.commands.lazy import LazyGroup
from shmq.config.addresses import split_address
from shmq.config.broker_settings import NAMESRV_LISTEN_DEFAULT
from shmq.config.loading import Loaded, Sources, load
from shmq.config.report import report
from shmq.config.sources import Given, Origin
from shmq.errors import ConfigError, ShmqError

EXIT_FAILED = 1
EXIT_CONFIG = 2

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # else numpy starts threads, and a supervisor must have none

_VERSION = click.version_option(__version__, message="%(prog)s %(version)s")


@click.group(cls=LazyGroup)
@_VERSION
def main() -> None:
    """Try, inspect and use a shmq or RocketMQ broker."""


@click.command()
@click.option("--config", "toml_file", metavar="FILE", default="", help="TOML file of settings.")
@click.option("-c", "broker_conf", metavar="FILE", default="", help="RocketMQ broker.conf.")
@click.option("--store-root", metavar="DIR", help="Directory of the store.")
@click.option("--listen", metavar="HOST:PORT", help="Address for clients.")
@click.option("--namesrv-listen", metavar="HOST:PORT|off", help="Address of the embedded name server.")
@click.option(
    "-n",
    "--namesrv",
    "namesrv_addresses",
    metavar="LIST",
    help="Outside name servers, host:port;host:port, instead of the embedded one.",
)
@click.option("--broker-name", metavar="NAME", help="Name of the broker.")
@click.option("--console-listen", metavar="HOST:PORT|off", help="Address of the HTTP console.")
@click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any setting; may be repeated."
)
@click.option("--print-config", is_flag=True, help="Show every setting and where it came from, then exit.")
@click.option("--clean", is_flag=True, help="Remove what dead brokers left in shared memory, then exit.")
@_VERSION
def supervisor(
    *,
    toml_file: str,
    broker_conf: str,
    assignments: tuple[str, ...],
    print_config: bool,
    clean: bool,
    **options: str | None,
) -> None:
    """Run a broker: its processes, and an embedded name server.

    Settings come from defaults, --config, -c, SHMQ_* in the environment, and options; the later wins. They are
    listed in docs/configuration.md.
    """
    sources = Sources(
        toml_file=toml_file,
        broker_conf=broker_conf,
        environment=os.environ,
        assignments=assignments,
        options=tuple(_given(name, text) for name, text in options.items() if text is not None),
    )
    _exit_with(lambda: _supervise(load(sources), print_config=print_config, clean=clean))


@click.command()
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=NAMESRV_LISTEN_DEFAULT,
    show_default=True,
    help="Address to serve.",
)
@click.option("--kv-path", metavar="FILE", default="", help="Keep the key-value configuration in this file.")
@_VERSION
def namesrv(*, listen: str, kv_path: str) -> None:
    """Run a name server by itself, for several brokers, of shmq or RocketMQ."""
    _exit_with(lambda: _serve_names(listen, kv_path))


@click.command()
@click.option("--broker", metavar="HOST:PORT", required=True, help="The broker whose messages are filtered.")
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:0", show_default=True, help="Address for consumers."
)
@click.option(
    "--advertised", metavar="HOST:PORT", default="", help="What consumers are told to dial, if another."
)
@click.option("--memory-mib", default=256, show_default=True, help="Memory of each filter.")
@click.option("--message-ms", default=100, show_default=True, help="Time of a filter for each message.")
@click.option(
    "--fuel", default=100_000_000, show_default=True, help="Instructions of WebAssembly for each message."
)
@_VERSION
def filter_server(
    *, broker: str, listen: str, advertised: str, memory_mib: int, message_ms: int, fuel: int
) -> None:
    """Run a filter server for one broker: consumers upload filters and pull through them (docs/class-filters.md)."""
    _exit_with(lambda: _serve_filters(broker, listen, advertised, (memory_mib, message_ms, fuel)))


def _serve_filters(broker: str, listen: str, advertised: str, limits: tuple[int, int, int]) -> int:
    for option, address in (("--broker", broker), ("--listen", listen), ("--advertised", advertised)):
        try:
            if address:
                split_address(address)
        except ValueError as error:
            raise ConfigError(f"command line: {option} {address}: must be HOST:PORT: {error}") from error
    if min(limits) < 1:
        raise ConfigError("command line: --memory-mib, --message-ms and --fuel must be positive")

    from shmq.workers import filter_server as role  # noqa: PLC0415  (brings in the workers)
    from shmq.workers.jail import JailLimits  # noqa: PLC0415

    memory_mib, message_ms, fuel = limits
    return role.serve(listen, advertised, broker, JailLimits(memory_mib << 20, message_ms, fuel))


def _supervise(loaded: Loaded, *, print_config: bool, clean: bool) -> int:
    if print_config or clean:
        _tell(loaded)
    if print_config:
        click.echo(report(loaded), nl=False)
        return 0

    from shmq.supervisor import process  # noqa: PLC0415  (brings in the compiler)

    return process.clean(loaded.config) if clean else process.serve(loaded)


def _serve_names(listen: str, kv_path: str) -> int:
    try:
        split_address(listen)
    except ValueError as error:
        raise ConfigError(f"command line: --listen {listen}: must be HOST:PORT: {error}") from error

    from shmq.workers import registrar  # noqa: PLC0415  (brings in the workers)

    return registrar.serve_alone(listen, kv_path)


def _tell(loaded: Loaded) -> None:
    """Say on standard error what a serving broker logs."""
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)


def _given(name: str, text: str) -> Given:
    option = "--namesrv" if name == "namesrv_addresses" else "--" + name.replace("_", "-")
    return Given(name, text, Origin(f"command line {option}"))


def _exit_with(run: Callable[[], int]) -> None:
    try:
        code = run()
    except ConfigError as error:
        click.echo(f"error: {error}", err=True)
        code = EXIT_CONFIG
    except ShmqError as error:
        click.echo(f"error: {error}", err=True)
        code = EXIT_FAILED
    sys.exit(code)
