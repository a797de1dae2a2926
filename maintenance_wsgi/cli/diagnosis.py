"""The commands that tell why: explain one request, check what would go wrong."""

import json
from collections.abc import Callable
from typing import Any

import click

from maintenance_wsgi.cli.app import Target, main, pass_target, same_directory_option, warn
from maintenance_wsgi.cli.params import header, peer
from maintenance_wsgi.diagnosis.check import check as find_faults
from maintenance_wsgi.diagnosis.explanation import explain as explain_request
from maintenance_wsgi.diagnosis.permissions import User
from maintenance_wsgi.gate import Gate
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.reader import StateReader

_trusted_proxy_option: Callable[[Any], Any] = click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="PROXY",
    help="An entry of the middleware's trusted_proxies. Repeat it for more.",
)


@main.command(short_help="Explain step by step what becomes of a request.")
@click.argument("address", type=peer)
@click.option(
    "--header",
    "headers",
    type=header,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request. Repeat it for more.",
)
@_trusted_proxy_option
@click.option(
    "--client-ip-header",
    metavar="NAME",
    default="X-Forwarded-For",
    show_default=True,
    help="The middleware's client_ip_header.",
)
@click.option(
    "--path", metavar="PATH", default="/", show_default=True, help="The path of the request."
)
@click.option(
    "--exempt-path",
    "exempt_paths",
    multiple=True,
    metavar="PATH",
    help="An entry of the middleware's exempt_paths. Repeat it for more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@same_directory_option
@pass_target
def explain(  # noqa: PLR0913 (the options of the middleware)
    target: Target,
    *,
    address: str,
    headers: tuple[tuple[str, str], ...],
    trusted_proxies: tuple[str, ...],
    client_ip_header: str,
    path: str,
    exempt_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain step by step what becomes of a request that comes from ADDRESS.

    ADDRESS is what the server sees. Behind a proxy it is the address of the proxy, or '' for a
    Unix socket, and the visitor's address is in a header.

    \b
    Example:
      maintenance-wsgi explain 10.0.0.1 --trusted-proxy 10.0.0.0/8 \\
          --header 'X-Forwarded-For: 203.0.113.7'
    """
    resolver = ClientIPResolver(trusted_proxies, client_ip_header)
    gate = Gate(StateReader(target.existing_directory()), resolver, ExemptPaths(exempt_paths))
    environ = {"REMOTE_ADDR": address, "PATH_INFO": path, **_joined(headers)}
    found = explain_request(environ, gate)
    click.echo(json.dumps(found.as_dict()) if as_json else str(found))
    if not trusted_proxies and not headers:
        warn(
            "this explains a direct connection; for a visitor behind a proxy pass the proxy's"
            " address, --trusted-proxy and --header"
        )


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the headers as servers put them into an environ: equal names share one value."""
    environ: dict[str, str] = {}
    for key, value in headers:
        environ[key] = f"{environ[key]}, {value}" if key in environ else value
    return environ


@main.command(short_help="Find what would go wrong in a maintenance window.")
@click.option(
    "--user", metavar="NAME", help="User that the web server runs as.  [default: your own]"
)
@_trusted_proxy_option
@click.option(
    "--page",
    metavar="PATH",
    type=click.Path(readable=False),  # which check itself reports
    help="The middleware's page, a file or a directory.",
)
@same_directory_option
@pass_target
def check(
    target: Target, *, user: str | None, trusted_proxies: tuple[str, ...], page: str | None
) -> None:
    """Find what would go wrong in a maintenance window, before it begins.

    Prints a line with a remedy for each fault. Exit status: 0 without a fault, otherwise 1.

    \b
    Example:
      maintenance-wsgi check --user www-data --trusted-proxy 10.0.0.0/8
    """
    server_user = User.current() if user is None else User.named(user)
    faults = list(find_faults(target.directory, server_user, trusted_proxies, page))
    for fault in faults:
        click.echo(fault)
    if faults:
        raise click.exceptions.Exit(1)
    click.echo(f"{target.directory}: no fault found, for {server_user.name}")
