"""Options that several commands have."""

import click

from shmq.client.producer import NAMESRV_DEFAULT

namesrv_option = click.option(
    "--namesrv",
    metavar="LIST",
    envvar="NAMESRV_ADDR",
    default=NAMESRV_DEFAULT,
    show_default=True,
    show_envvar=True,
    help="Name servers, host:port;host:port.",
)
