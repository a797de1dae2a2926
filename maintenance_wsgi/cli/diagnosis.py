"""The commands that tell why, and what visitors get: explain, check, preview."""

import json
import pwd
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import click

from maintenance_wsgi.arguments import absolute_path
from maintenance_wsgi.cli import params
from maintenance_wsgi.cli.app import PATH, Target, main, with_target
from maintenance_wsgi.config import Options, options_from_environ
from maintenance_wsgi.diagnosis.check import check as find_faults
from maintenance_wsgi.diagnosis.explanation import explain as explain_request
from maintenance_wsgi.diagnosis.permissions import User
from maintenance_wsgi.gate import Gate
from maintenance_wsgi.grammar import LINE_LIMIT, printable
from maintenance_wsgi.request.client_ip import ClientIPResolver
from maintenance_wsgi.request.exempt_paths import ExemptPaths
from maintenance_wsgi.response.unavailable import UnavailableResponse
from maintenance_wsgi.state.mode import MaintenanceMode
from maintenance_wsgi.state.reader import StateReader


def _option(name: str, metavar: str, help_text: str, **settings: Any) -> params.Decorator:  # noqa: ANN401 (click's own)
    if settings.get("multiple"):
        help_text += " Repeat it for more."
    settings["show_default"] = "default" in settings
    return click.option(*name.split(), metavar=metavar, help=help_text, **settings)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_page_option = _option("--page", "PATH", "The middleware's page, a file or a directory.", type=PATH)


def _middleware_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the middleware, and what `with_target` gives."""
    proxy = _option("--trusted-proxy trusted_proxies", "PROXY", "A trusted proxy.", multiple=True)
    header = _option("--client-ip-header", "NAME", "The middleware's client_ip_header.")
    path = _option("--exempt-path exempt_paths", "PATH", "An exempt path.", multiple=True)
    health = _option("--health-path health_paths", "PATH", "A health path.", multiple=True)
    write = _option("--write-path write_paths", "PATH", "A write path.", multiple=True)
    return proxy(header(path(health(write(_page_option(with_target(command)))))))


def _assumed(target: Target, directory: str, given: dict[str, Any]) -> tuple[Options, str]:
    """Return the options to assume, those that are given first, and where they come from."""
    application = target.application
    known = application._asdict() if application else options_from_environ()
    known = {name: known[name] for name in Options._fields[1:] if name in known}
    own = {name: value for name, value in given.items() if value not in {None, ()}}
    if "page" in own:
        own["page"] = absolute_path("--page", own["page"])
    base = "of the application" if application else "from MAINTENANCE_*" if known else ""
    source = " and ".join(filter(None, [base, "given here" if own else ""])) or "none given"
    return Options(directory, **(known | own)), source


def _config(options: Options, source: str) -> dict[str, Any]:
    return {"source": source, **options._asdict()}


def _config_line(options: Options, source: str) -> str:
    return printable(f"config   {source}: {shlex.join(options.arguments())}", LINE_LIMIT)


@main.command(short_help="Explain step by step what becomes of a request.")
@click.argument("address", type=params.peer)
@_option("--header", "'NAME: VALUE'", "A header of the request.", type=params.header, multiple=True)
@_option("--path", "PATH", "The path of the request, and its query.", default="/")
@_option("--method", "NAME", "The method of the request.", default="GET")
@_json_option
@_middleware_options
def explain(  # noqa: PLR0913 (the options of the command; all by keyword)
    target: Target,
    *,
    address: str,
    header: tuple[tuple[str, str], ...],
    path: str,
    method: str,
    as_json: bool,
    **given: Any,  # noqa: ANN401 (the options of the middleware)
) -> None:
    """Explain step by step what becomes of a request that comes from ADDRESS.

    ADDRESS is what the server sees. Behind a proxy it is the address of the proxy, or '' for a
    Unix socket, and the visitor's address is in a header. The options that you leave out are those
    of MAINTENANCE_TRUSTED_PROXIES and so on.

    \b
    Example:
      maintenance-wsgi explain 10.0.0.1 --trusted-proxy 10.0.0.0/8 \\
          --header 'X-Forwarded-For: 203.0.113.7'
    """
    options, source = _assumed(target, target.directory(), given)
    resolver = ClientIPResolver(options.trusted_proxies, options.client_ip_header)
    exempt = ExemptPaths(options.exempt_paths)
    may_write = ExemptPaths(options.write_paths, "write_paths")
    health = ExemptPaths(options.health_paths, "health_paths")
    gate = Gate(StateReader(options.directory), resolver, exempt, may_write, health)
    # PEP 3333: the environ holds the path's bytes, decoded as latin-1.
    path_info, _, query = path.encode("utf-8", "surrogateescape").decode("latin-1").partition("?")
    path_info = unquote(path_info, "latin-1")  # as servers do
    environ = {"REMOTE_ADDR": address, "REQUEST_METHOD": method}
    environ |= {"PATH_INFO": path_info, "QUERY_STRING": query}
    for name, value in header:  # equal names share one value, as servers put them there
        environ[name] = f"{environ[name]}, {value}" if name in environ else value
    found = explain_request(environ, gate)
    lines = (printable(line, LINE_LIMIT) for line in str(found).split("\n"))
    text = "\n".join([_config_line(options, source), *lines])
    members = {"config": _config(options, source), **found.as_dict()}
    click.echo(json.dumps(members) if as_json else text)


def _users(_ctx: object, _option: object, typed: str) -> list[str]:
    return [user.pw_name for user in pwd.getpwall() if user.pw_name.startswith(typed)]


@main.command(short_help="Find what would go wrong in a maintenance window.")
@_option("--user", "NAME", "User of the web server.  [default: yourself]", shell_complete=_users)
@_json_option
@_middleware_options
def check(
    target: Target,
    *,
    user: str | None,
    as_json: bool,
    **given: Any,  # noqa: ANN401 (likewise)
) -> None:
    """Find what would go wrong in a maintenance window, before it begins.

    Prints a line with a remedy for each fault. Exit status: 0 without a fault, otherwise 1. The
    options that you leave out are those of MAINTENANCE_TRUSTED_PROXIES and so on.

    \b
    Example:
      maintenance-wsgi check --user www-data --trusted-proxy 10.0.0.1
    """
    directory = target.directory(must_exist=False)
    options, source = _assumed(target, directory, given)
    server_user = User.current() if user is None else User.named(user)
    faults = list(find_faults(options, server_user))
    found = {"config": _config(options, source), "user": server_user.name, "faults": faults}
    lines = [_config_line(options, source), *faults]
    proves_nothing = user is None and server_user.uid == 0
    if not faults and not proves_nothing:
        lines.append(f"{directory}: no fault found, for {server_user.name}")
    shown = "\n".join(printable(line, LINE_LIMIT) for line in lines)
    click.echo(json.dumps(found) if as_json else shown)
    if faults:
        raise click.exceptions.Exit(1)
    if proves_nothing:
        remedy = "name the web server's user, for example --user www-data"
        raise click.UsageError(f"root can read everything, which proves nothing; {remedy}")


@main.command(short_help="Print the answer that a visitor would get.")
@_option("--accept", "TYPES", "The visitor's Accept header.", default="text/html")
@_option("--lang", "LANGUAGES", "The visitor's Accept-Language header, for example de.")
@click.option("--overdue", is_flag=True, help="Show a planned end that is in the past.")
@click.option("-i", "--include", is_flag=True, help="Print the status line and the fields, too.")
@_page_option
@with_target
def preview(  # noqa: PLR0913 (what an operator can choose)
    target: Target, *, accept: str, lang: str | None, overdue: bool, include: bool, page: str | None
) -> None:
    """Print the answer that a visitor would get, byte for byte.

    Its message, planned end and so on are those of the flag if maintenance is on. Without --page,
    the page is that of MAINTENANCE_PAGE or of the application.

    \b
    Example:
      maintenance-wsgi preview --lang de > 503.html
    """
    window = MaintenanceMode(target.directory()).status().window
    if overdue:
        window = replace(window, until=datetime.fromtimestamp(0, UTC))
    options, _ = _assumed(target, target.directory(), {"page": page})
    answer = UnavailableResponse(options.retry_after, options.page, ())
    head: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Any:  # noqa: ANN401 (PEP 3333)
        head.append(f"HTTP/1.1 {status}\r\n")
        head.extend(f"{name}: {value}\r\n" for name, value in headers)

    environ = {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_LANGUAGE": lang or ""}
    body = b"".join(answer(environ, start_response, window, None))
    shown = (f"{''.join(head)}\r\n".encode("latin-1") if include else b"") + body
    try:
        click.echo(shown, nl=False)
    except TypeError:  # Django's call_command was given a stream of strings
        click.echo(shown.decode(errors="replace"), nl=False)
