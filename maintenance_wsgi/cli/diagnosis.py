"""The commands that tell why: explain one request, check what would go wrong."""

import json
import pwd
from typing import Any

import click

from maintenance_wsgi.cli import params
from maintenance_wsgi.cli.app import PATH, Target, main, warn, with_target
from maintenance_wsgi.diagnosis.check import check as find_faults
from maintenance_wsgi.diagnosis.explanation import explain as explain_request
from maintenance_wsgi.diagnosis.permissions import User
from maintenance_wsgi.gate import Gate
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.reader import StateReader


def _option(name: str, metavar: str, help_text: str, **settings: Any) -> params.Decorator:  # noqa: ANN401 (click's own)
    if settings.get("multiple"):
        help_text += " Repeat it for more."
    settings["show_default"] = "default" in settings
    return click.option(name, metavar=metavar, help=help_text, **settings)


_trusted_proxy_option = _option(
    "--trusted-proxy", "PROXY", "An entry of the middleware's trusted_proxies.", multiple=True
)


@main.command(short_help="Explain step by step what becomes of a request.")
@click.argument("address", type=params.peer)
@_option("--header", "'NAME: VALUE'", "A header of the request.", type=params.header, multiple=True)
@_trusted_proxy_option
@_option(
    "--client-ip-header", "NAME", "The middleware's client_ip_header.", default="X-Forwarded-For"
)
@_option("--path", "PATH", "The path of the request.", default="/")
@_option("--exempt-path", "PATH", "An entry of the middleware's exempt_paths.", multiple=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_target
def explain(  # noqa: PLR0913 (the options of the middleware)
    target: Target,
    *,
    address: str,
    header: tuple[tuple[str, str], ...],
    trusted_proxy: tuple[str, ...],
    client_ip_header: str,
    path: str,
    exempt_path: tuple[str, ...],
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
    resolver = ClientIPResolver(trusted_proxy, client_ip_header)
    gate = Gate(StateReader(target.directory()), resolver, ExemptPaths(exempt_path))
    environ = {"REMOTE_ADDR": address, "PATH_INFO": path}
    for name, value in header:  # equal names share one value, as servers put them there
        environ[name] = f"{environ[name]}, {value}" if name in environ else value
    found = explain_request(environ, gate)
    click.echo(json.dumps(found.as_dict()) if as_json else str(found))
    if not trusted_proxy and not header:
        warn(
            "this explains a direct connection; for a visitor behind a proxy pass the proxy's"
            " address, --trusted-proxy and --header"
        )


def _users(_ctx: object, _option: object, typed: str) -> list[str]:
    return [user.pw_name for user in pwd.getpwall() if user.pw_name.startswith(typed)]


@main.command(short_help="Find what would go wrong in a maintenance window.")
@_option("--user", "NAME", "User of the web server.  [default: yourself]", shell_complete=_users)
@_trusted_proxy_option
@_option("--page", "PATH", "The middleware's page, a file or a directory.", type=PATH)
@with_target
def check(
    target: Target, *, user: str | None, trusted_proxy: tuple[str, ...], page: str | None
) -> None:
    """Find what would go wrong in a maintenance window, before it begins.

    Prints a line with a remedy for each fault. Exit status: 0 without a fault, otherwise 1.

    \b
    Example:
      maintenance-wsgi check --user www-data --trusted-proxy 10.0.0.1
    """
    directory = target.directory(must_exist=False)
    server_user = User.current() if user is None else User.named(user)
    faults = list(find_faults(directory, server_user, trusted_proxy, page))
    for fault in faults:
        click.echo(fault)
    if faults:
        raise click.exceptions.Exit(1)
    click.echo(f"{directory}: no fault found, for {server_user.name}")
