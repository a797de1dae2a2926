"""What is public, as the program itself shows it.

After a change that is meant, record it and look at the difference:
python -m tests.project.surface > tests/data/surface.json
"""

import ast
import inspect
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import click
from click.testing import CliRunner

import maintenance_wsgi
from maintenance_wsgi import ConfigError, MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.cli import main
from maintenance_wsgi.cli.help import TOPICS
from maintenance_wsgi.config import options_from_ini
from maintenance_wsgi.fleet.nodes import Node
from maintenance_wsgi.gate import Outcome
from maintenance_wsgi.request.bypass import new_link
from maintenance_wsgi.request.client_ip import Reason
from maintenance_wsgi.response.templates import CUSTOM_PLACEHOLDERS
from maintenance_wsgi.state.users import current_user
from tests.support.processes import COMMAND, environ, run
from tests.support.wsgi import Answer, call, make_environ

Surface = dict[str, Any]
COMMAND_TO_RECORD = "python -m tests.project.surface > tests/data/surface.json"
PACKAGE = Path(maintenance_wsgi.__file__).parent
EXEMPT = "203.0.113.7"
FILE_NAME = r"\.maintenance\.[a-z]+"
VARIABLE = {  # headers whose value depends on the page
    "Content-Length",
    "Content-Security-Policy",
}


def present(directory: Path) -> Surface:
    """Return the present surface; the directory is empty, and is written to."""
    (directory / "var").mkdir()
    distributed = distribution("maintenance-wsgi")
    return {
        "names": names(),
        "answers": answers(directory),
        "flag": json_types(json.loads((directory / "var/.maintenance.flag").read_text())),
        "json": printed_json(directory),
        "exit codes": exit_codes(directory),
        "environment": sorted(variables()),
        "commands": commands(),
        "topics of help": list(TOPICS),
        "placeholders": list(CUSTOM_PLACEHOLDERS),
        "files": sorted(strings(FILE_NAME)),
        "loggers": sorted(loggers()),
        "extras": sorted(distributed.metadata.get_all("Provides-Extra", [])),
        "entry points": {f"{e.group}: {e.name}": e.value for e in distributed.entry_points},
    }


def names() -> Surface:
    """Return what is exported, and the one function that the README names by its module."""
    exported = {name: getattr(maintenance_wsgi, name) for name in maintenance_wsgi.__all__}
    public = exported | {"request.bypass.new_link": new_link}
    return {name: _described(value) for name, value in public.items()}


def _described(value: Callable[..., object]) -> Surface:
    if not inspect.isclass(value):
        return parameters(value)
    inherited = set(dir(OSError)) | set(dir(TypeError))
    own = [name for name in dir(value) if not name.startswith("_") and name not in inherited]
    members = dict.fromkeys([*own, *documented(value, "Attributes")], "attribute")
    methods = {name: getattr(value, name) for name in own if callable(getattr(value, name))}
    return {
        "is also": [base.__name__ for base in value.__mro__[1:-1]],
        "constructor": {} if issubclass(value, Exception) else parameters(value),
        "members": members | {name: parameters(method) for name, method in methods.items()},
    }


def parameters(function: Callable[..., object]) -> Surface:
    """Return the parameters and how each is given; types are tested by two type checkers."""
    found = inspect.signature(function).parameters.values()
    return {
        parameter.name: f"{parameter.kind.description}, "
        f"{'required' if parameter.default is parameter.empty else f'{parameter.default!r}'}"
        for parameter in found
        if parameter.name != "self"
    }


def documented(value: object, section: str) -> list[str]:
    """Return the names that a section of a docstring describes."""
    text = inspect.getdoc(value) or ""
    lines = re.search(rf"^{section}:\n((?:    .*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^    (\w+): \S", lines[1], re.MULTILINE) if lines else []


def answers(directory: Path) -> Surface:
    """Ask a gate for each kind of answer; the flag is left with every member."""
    mode = MaintenanceMode(directory / "var")
    mode.set_exemptions([EXEMPT])
    page = directory / "page.html"
    page.write_text("<p>{{ message }}</p>")
    seen: list[str] = []

    def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.extend(key for key in environ if key.startswith("maintenance_wsgi."))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Expires", "0")])
        return [b"shop"]

    options: Surface = {"exempt_paths": ["/hook"], "health_paths": ["/health"]}
    options["write_paths"] = ["/login"]
    gate = MaintenanceMiddleware(shop, mode, **options)
    with_cors = MaintenanceMiddleware(shop, mode, cors_origins=["https://app.example"])
    with_page = MaintenanceMiddleware(shop, mode, page=page)
    found: Surface = {}

    def ask(kind: str, application: WSGIApplication = gate, **environ: Any) -> Answer:
        seen.clear()
        answer = call(application, make_environ(**environ))
        headers = {name: _shown(name, text) for name, text in sorted(answer.headers)}
        found[kind] = {"status": answer.status, "headers": headers, "environ": list(seen)}
        return answer

    def enable(options: str = "") -> str:
        line = f"enable -q --bypass https://shop.example/ {options}"
        return CliRunner().invoke(main, ["--dir", str(directory / "var"), *line.split()]).stdout

    origin = {"HTTP_ORIGIN": "https://app.example"}
    preflight = {"REQUEST_METHOD": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
    preflight["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = "X-Token"
    query = enable().strip().partition("?")[2]
    ask("blocked, page", HTTP_ACCEPT="text/html")
    ask("blocked, problem", HTTP_ACCEPT="application/json")
    ask("blocked, text", HTTP_ACCEPT="text/plain")
    ask("blocked, own page", with_page, HTTP_ACCEPT="text/html")
    ask("blocked, of an allowed origin", with_cors, **origin)
    ask("blocked, preflight", with_cors, **origin, **preflight)
    ask("health path", path="/health")
    ask("exempt path", path="/hook")
    ask("exempt client", peer=EXEMPT)
    ask("bypass header", HTTP_X_MAINTENANCE_BYPASS=query.partition("=")[2])
    link = ask("bypass link", QUERY_STRING=query)
    ask("bypass cookie", HTTP_COOKIE=link["Set-Cookie"].partition(";")[0])
    mode.enable(read_only=True)
    ask("read-only, reading")
    ask("read-only, writing", REQUEST_METHOD="POST")
    ask("read-only, write path", REQUEST_METHOD="POST", path="/login")
    mode.disable()
    ask("off")
    enable("--message Move --message-in de Umzug --until +1h --retry-after 60 --read-only")
    return found


def _shown(name: str, text: str) -> str:
    return "..." if name in VARIABLE else re.sub("=[A-Za-z0-9_-]{43}", "=...", text)


def json_types(value: Any) -> Any:
    """Return a value with the names of JSON's types in place of what has no members."""
    if isinstance(value, dict):
        return {name: json_types(member) for name, member in value.items()}
    if isinstance(value, list):
        return [json_types(member) for member in value[:1]]
    return {str: "string", bool: "boolean", int: "number"}.get(type(value), "null")


def printed_json(directory: Path) -> Surface:
    var = ["--dir", str(directory / "var")]
    client = ["10.0.0.1", "--trusted-proxy=10.0.0.1", "--path=/x", "--exempt-path=/hook"]
    client += [f"--header=X-Forwarded-For: 192.0.2.1, {EXEMPT}"]

    def printed(*line: str) -> Any:
        return json_types(json.loads(CliRunner().invoke(main, [*var, *line, "--json"]).stdout))

    return {
        "status": printed("status"),
        "status, a node": list(Node._fields),
        "check": printed("check", "--user=root", "--exempt-path=/hook", "--page=nope.html"),
        "explain": printed("explain", *client),
        "explain, outcome": list(Outcome),
        "explain, reason": list(Reason),
    }


def exit_codes(directory: Path) -> Surface:
    """Run commands in their order; `|` is what goes before, and is not part of the command."""
    lines = [
        *("enable", "on | status", "on | status --exit-code", "disable", "disable --drain 1"),
        *("off | status", "off | status --exit-code", "enable --drain 1", "disable --until soon"),
        *("enable --until soon", "maintenance:enable --until soon", "maintenance:disable"),
        *("disable --verify http://127.0.0.1:1/ --wait 1", "allow-ips --remove 192.0.2.7"),
        *("allow-ips", "allow-ips nope", f"explain {EXEMPT}", "explain nope", "preview"),
        *(f"check --user {current_user()}", "check --page no.html", "help", "help nope", "follow"),
        *("run true", "run false", "run sh -c 'exit 7'", "run sh -c 'kill -9 $$'"),
        *("disable", "run --drain 1 true"),
        *("disable", "run no-such-command", "run /dev/null"),
        *("no directory | --dir no status", "no directory | --dir no status --exit-code"),
    ]
    variables = environ(MAINTENANCE_DIR=str(directory / "var"))
    codes = {}
    for line in lines:
        typed = line.rpartition("| ")[2]
        done = run(COMMAND, *shlex.split(typed), cwd=directory, env=variables, code=None)
        codes[line.replace(current_user(), "USER")] = done.returncode
    return codes


def trees(part: str = ".") -> Iterator[ast.AST]:
    """Yield every node of the syntax trees of the package, or of a part of it."""
    for path in (PACKAGE / part).rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def variables() -> set[str]:
    """Return the environment variables that are read: by their names, and as options."""
    found = {"_MAINTENANCE_WSGI_COMPLETE"}  # by click
    for node in trees():
        match node:
            case (
                ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="environ")),
                    args=[ast.Constant(value=str(name)), *_],
                )
                | ast.Subscript(
                    value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(name))
                )
                | ast.keyword(arg="envvar", value=ast.Constant(value=str(name)))
            ):
                found.add(name)
    try:
        options_from_ini({"?": ""})
    except ConfigError as error:
        options = str(error).partition("use one of ")[2].split(", ")
    return found | {f"MAINTENANCE_{option.upper()}" for option in options}


def loggers() -> set[str]:
    """Return the names of the loggers."""
    calls = (node for node in trees() if isinstance(node, ast.Call))
    named = (call.args[0] for call in calls if ast.unparse(call.func) == "logging.getLogger")
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


def strings(pattern: str, part: str = ".") -> set[str]:
    """Return the strings in the code that match."""
    texts = {node.value for node in trees(part) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and re.fullmatch(pattern, text)}


def commands() -> Surface:
    ctx = click.Context(main)
    found = {name: main.get_command(ctx, name) or main for name in main.list_commands(ctx)}
    return {
        name: {
            option: _kind(parameter)
            for parameter in command.params
            for option in _spellings(parameter)
        }
        for name, command in {"": main, **found}.items()
    }


def _spellings(parameter: click.Parameter) -> list[str]:
    if isinstance(parameter, click.Option):
        return [*parameter.opts, *parameter.secondary_opts]
    return [parameter.human_readable_name]


def _kind(parameter: click.Parameter) -> str:
    is_flag = isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count)
    values = "no value" if is_flag else "2 values" if parameter.nargs == 2 else "a value"
    return values + (", repeated" if parameter.multiple or parameter.nargs == -1 else "")


def differences(recorded: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield a sentence for each thing that is gone, that differs, or that is not recorded."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for name in {**recorded, **now}:
            where = f"{path} > {name}".removeprefix(" > ")
            if name not in now:
                yield f"{where}: is gone, and is public; see Compatibility in the README"
            elif name not in recorded:
                yield f"{where}: is new; record it with {COMMAND_TO_RECORD}"
            else:
                yield from differences(recorded[name], now[name], where)
    elif isinstance(recorded, list) and isinstance(now, list):
        yield from differences(
            dict.fromkeys(map(str, recorded)), dict.fromkeys(map(str, now)), path
        )
    elif (type(recorded), recorded) != (type(now), now):
        was = f"was {recorded!r}, and is {now!r}"
        yield f"{path}: {was}, and is public; see Compatibility in the README"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        json.dump(present(Path(folder)), sys.stdout, indent=1)
        sys.stdout.write("\n")
