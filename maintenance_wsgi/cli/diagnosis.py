"""The commands that tell why: explain one request, check what would go wrong."""

import json
from dataclasses import asdict

import click

from maintenance_wsgi.cli.app import directory_name, main, open_mode, same_directory_option, warn
from maintenance_wsgi.diagnosis.check import check as find_faults
from maintenance_wsgi.diagnosis.explanation import explain as explain_request
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.state.users import User

_trusted_proxy_option = click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="PROXY",
    help="One of the middleware's trusted_proxies; repeat for more.",
)


@main.command(short_help="Tell step by step what becomes of a request, and why.")
@click.argument("address")
@click.option("--header", "headers", multiple=True, metavar="'N: V'", help="A request header.")
@_trusted_proxy_option
@click.option(
    "--client-ip-header",
    metavar="NAME",
    default="X-Forwarded-For",
    show_default=True,
    help="The middleware's client_ip_header.",
)
@click.option("--path", metavar="PATH", default="/", show_default=True, help="The request's path.")
@click.option(
    "--exempt-path",
    "exempt_paths",
    multiple=True,
    metavar="PATH",
    help="One of the middleware's exempt_paths; repeat for more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@same_directory_option
def explain(  # noqa: PLR0913 (the options of the middleware)
    *,
    address: str,
    headers: tuple[str, ...],
    trusted_proxies: tuple[str, ...],
    client_ip_header: str,
    path: str,
    exempt_paths: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell step by step what becomes of a request that comes from ADDRESS, and why.

    ADDRESS is what the server sees: behind a proxy that is the proxy's address, '' for a Unix
    socket, and the visitor's own stands in the header.

    \b
    Example:
      maintenance-wsgi explain 10.0.0.1 --trusted-proxy 10.0.0.0/8 \\
          --header 'X-Forwarded-For: 203.0.113.7'
    """
    environ = {"REMOTE_ADDR": address, "PATH_INFO": path, **_header_environ(headers)}
    resolver = ClientIPResolver(trusted_proxies, client_ip_header)
    found = explain_request(environ, open_mode(), resolver, ExemptPaths(exempt_paths))
    click.echo(json.dumps(asdict(found)) if as_json else str(found))
    if not trusted_proxies and not headers:
        warn(
            "this is a direct connection; behind a proxy ADDRESS is the proxy's, and the visitor's"
            " stands in --header, believed by --trusted-proxy"
        )


def _header_environ(headers: tuple[str, ...]) -> dict[str, str]:
    environ: dict[str, str] = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.ClickException(f"--header: {header!r} has no colon; write 'Name: value'")
        key = f"HTTP_{name.strip().upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


@main.command(short_help="Find what would go wrong in a maintenance window.")
@click.option("--user", metavar="NAME", help="Whom the web server runs as; else yourself.")
@_trusted_proxy_option
@click.option(
    "--page",
    metavar="PATH",
    type=click.Path(),
    help="The middleware's own page, a file or a directory.",
)
@same_directory_option
@click.pass_context
def check(
    ctx: click.Context, *, user: str | None, trusted_proxies: tuple[str, ...], page: str | None
) -> None:
    """Find what would go wrong in a maintenance window, before it begins.

    Prints a line for each fault, with its remedy. Exit status: 0 without a fault, else 1.

    \b
    Example:
      maintenance-wsgi check --user www-data --trusted-proxy 10.0.0.0/8
    """
    who = User.current() if user is None else User.named(user)
    faults = list(find_faults(directory_name(), who, trusted_proxies, page))
    for fault in faults:
        click.echo(fault)
    if faults:
        ctx.exit(1)
    click.echo(f"{directory_name()}: no fault found, for {who.name}")
