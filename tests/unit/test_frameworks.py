"""Each framework wrapped where its WSGI application is, and the command within Flask and Django."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any
from wsgiref.types import WSGIApplication

import bottle
import django
import django.conf
import django.core.wsgi
import django.http
import django.urls
import falcon
import flask
import pytest
from pyramid.config import Configurator
from pyramid.response import Response

from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
from maintenance_wsgi.state.users import current_user
from tests.support.processes import PROGRAMS, ROOT, environ, run
from tests.support.wsgi import call, make_environ

PYTHON = sys.executable
README = ROOT / "README.md"


def read_mark(environ: dict[str, Any]) -> str:
    return f"exempt: {environ.get('maintenance_wsgi.exempt', False)}"


def flask_names() -> dict[str, object]:
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: read_mark(flask.request.environ))
    return {"app": app}


def django_names() -> dict[str, object]:
    def view(request: Any) -> Any:
        return django.http.HttpResponse(read_mark(request.environ))

    urls = ModuleType("urls")
    urls.__dict__["urlpatterns"] = [django.urls.path("", view)]
    if not django.conf.settings.configured:
        django.conf.settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"])
    return {"get_wsgi_application": django.core.wsgi.get_wsgi_application}


def pyramid_names() -> dict[str, object]:
    config = Configurator()
    config.add_route("home", "/")
    config.add_view(lambda request: Response(read_mark(request.environ)), route_name="home")
    return {"application": config.make_wsgi_app()}


def falcon_names() -> dict[str, object]:
    class Home:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            response.text = read_mark(request.env)

    app = falcon.App()
    app.add_route("/", Home())
    return {"application": app}


def bottle_names() -> dict[str, object]:
    app = bottle.Bottle()
    app.route("/", callback=lambda: read_mark(bottle.request.environ))
    return {"application": app}


FRAMEWORKS = {
    "Flask": flask_names,
    "Django": django_names,
    "Pyramid": pyramid_names,
    "Falcon": falcon_names,
    "Bottle": bottle_names,
}


@pytest.fixture(params=FRAMEWORKS)
def framework_application(request: pytest.FixtureRequest, var: Path) -> WSGIApplication:
    """Return an application of each framework, wrapped by the README's own lines."""
    names = {"MaintenanceMiddleware": MaintenanceMiddleware, **FRAMEWORKS[request.param]()}
    named = rf"^#.* {request.param}\b.*\n([^#`]+)"
    lines = re.search(named, README.read_text(encoding="utf-8"), re.MULTILINE)
    assert lines is not None
    exec(lines[1].replace("/srv/shop/var", str(var)), names)  # noqa: S102 (the README's own code)
    found: Any = names.get("application") or names["app"]
    application: WSGIApplication = found
    return application


def test_wrapped_framework(framework_application: WSGIApplication, mode: MaintenanceMode) -> None:
    off = call(framework_application)
    assert (off.code, off.body, off.mark) == (200, b"exempt: False", None)
    mode.enable(exemptions=["192.0.2.9"])
    exempt = call(framework_application)
    assert (exempt.code, exempt.body, exempt.mark) == (200, b"exempt: True", "exempt")
    assert exempt["Cache-Control"] == "private, no-cache"
    assert call(framework_application, make_environ(path="/nowhere")).code == 404
    assert call(framework_application, make_environ("192.0.2.10")).code == 503
    mode.disable()
    assert call(framework_application, make_environ("192.0.2.10")).code == 200


FLASK = """
import flask
from werkzeug.middleware.proxy_fix import ProxyFix
from maintenance_wsgi import MaintenanceMiddleware

app = flask.Flask(__name__)
app.wsgi_app = MaintenanceMiddleware(app.wsgi_app, OPTIONS)
app.wsgi_app = ProxyFix(app.wsgi_app)
"""
DJANGO = """
from django.core.wsgi import get_wsgi_application
from werkzeug.middleware.proxy_fix import ProxyFix
from maintenance_wsgi import MaintenanceMiddleware

application = MaintenanceMiddleware(get_wsgi_application(), OPTIONS)
application = ProxyFix(application)
"""
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""
SETTINGS = """
INSTALLED_APPS = ["maintenance_wsgi"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
"""
WRAPPED = re.compile("^app.* = MaintenanceMiddleware.*\n", re.MULTILINE)


@dataclass
class Project:
    """A project whose application has its state in `state`; another directory is `var`."""

    folder: Path
    command: list[str]
    module: Path  # has the application
    name: str  # of the application in it

    def run(self, *arguments: str, **variables: str) -> CompletedProcess[str]:
        env = environ(**variables)
        return run(*self.command, *arguments, cwd=self.folder, env=env, code=None)

    def flags(self) -> list[str]:
        return [flag.parent.name for flag in self.folder.glob("*/.maintenance.flag")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("var", "state", "shop"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def flask_project(folder: Path) -> Project:
    options = f"'{folder}/state', trusted_proxies=['127.0.0.1'], exempt_paths=['/healthz']"
    (folder / "app.py").write_text(FLASK.replace("OPTIONS", options))
    command = [str(PROGRAMS / "flask"), "maintenance"]
    return Project(folder, command, folder / "app.py", "app.wsgi_app")


@pytest.fixture
def django_project(folder: Path) -> Project:
    options = f"'{folder}/state', trusted_proxies=['127.0.0.1'], exempt_paths=['/healthz']"
    (folder / "manage.py").write_text(MANAGE)
    (folder / "shop/settings.py").write_text(SETTINGS)
    (folder / "shop/urls.py").write_text("urlpatterns = []\n")
    (folder / "shop/wsgi.py").write_text(DJANGO.replace("OPTIONS", options))
    command = [sys.executable, "manage.py", "maintenance"]
    return Project(folder, command, folder / "shop/wsgi.py", "application")


@pytest.fixture(params=["flask", "django"])
def project(request: pytest.FixtureRequest) -> Project:
    found: Project = request.getfixturevalue(f"{request.param}_project")
    return found


def test_command_acts_on_the_directory_of_the_application(project: Project) -> None:
    result = project.run("enable", "--ip=203.0.113.7")
    assert (result.returncode, result.stderr) == (0, "")
    directory = project.folder / "state"
    assert result.stdout == f"Enabled maintenance mode in {directory}\nExempt: 203.0.113.7\n"
    assert project.flags() == ["state"]
    result = project.run("enable", "--ip=nope")
    assert result.returncode == 2
    assert "Invalid IP nope" in result.stderr
    assert "allow-ips" in project.run("--help").stdout
    result = project.run("status", "-q", "--exit-code")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert project.run("m:d").returncode == 0
    result = project.run("status", "-q", "--exit-code")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")
    assert project.flags() == []


@pytest.mark.parametrize("by_variable", [True, False])
def test_directory_that_is_given_wins_and_the_difference_is_named(
    project: Project, *, by_variable: bool
) -> None:
    arguments, variables = ["enable", "--dir=var"], {}
    if by_variable:
        arguments, variables = ["enable"], {"MAINTENANCE_DIR": "var"}
    result = project.run(*arguments, **variables)
    assert result.returncode == 0
    assert result.stdout.startswith(f"Enabled maintenance mode in {project.folder}/var\n")
    assert f"Warning: the application uses {project.folder}/state, not var" in result.stderr
    assert project.flags() == ["var"]


def test_same_directory_by_another_name_is_no_difference(project: Project) -> None:
    (project.folder / "link").symlink_to("state")
    result = project.run("enable", MAINTENANCE_DIR=" link\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert (project.folder / "state/.maintenance.flag").exists()


@pytest.mark.parametrize(("seconds", "field"), [(60, ["Retry-After: 60"]), (None, [])])
def test_preview_shows_the_page_of_the_application(
    seconds: int | None, field: list[str], project: Project
) -> None:
    (project.folder / "own.html").write_text("moving house\n")
    source = project.module.read_text()
    options = f"page='{project.folder}/own.html', retry_after={seconds}, trusted_proxies"
    project.module.write_text(source.replace("trusted_proxies", options))
    variables = {"MAINTENANCE_PAGE": "nope.html", "MAINTENANCE_RETRY_AFTER": "7"}
    assert project.run("preview", **variables).stdout == "moving house\n"
    lines = project.run("preview", "-i", **variables).stdout.splitlines()
    assert [line for line in lines if line.startswith("Retry-After")] == field


def not_wrapped(project: Project) -> str:
    source = project.module.read_text()
    project.module.write_text(WRAPPED.sub("application = get_wsgi_application()\n", source))
    if project.name == "app.wsgi_app":
        project.module.write_text(WRAPPED.sub("", source))
    return (
        "the application is not wrapped; add"
        f' {project.name} = MaintenanceMiddleware({project.name}, "/srv/shop/var")'
    )


def not_importable(project: Project) -> str:
    project.module.write_text("import there_is_no_such_module\n")
    return "the application cannot be loaded: "


def exiting(project: Project) -> str:
    project.module.write_text("import sys\nsys.exit('no database')\n")
    return "the application cannot be loaded: SystemExit: no database; correct it"


@pytest.mark.parametrize("spoil", [not_wrapped, not_importable, exiting])
def test_application_whose_directory_is_unknown_is_refused(
    spoil: Callable[[Project], str], project: Project
) -> None:
    """There is a directory `var` here, in which no application would look."""
    fault = spoil(project)
    for command in ("enable", "status", "check"):
        result = project.run(command)
        assert (result.returncode, result.stdout) == (1, "")
        assert fault in result.stderr
        assert "name the directory with --dir" in result.stderr
        assert "Traceback" not in result.stderr
    assert project.flags() == []
    result = project.run("enable", "--dir=state")
    assert result.returncode == 0
    assert f"Warning: {fault}" in result.stderr
    assert project.flags() == ["state"]
    assert "allow-ips" in project.run("--help").stdout


def test_configuration_of_the_application_is_explained(project: Project) -> None:
    project.run("enable", "--ip=203.0.113.7")
    config = "config   of the application: --trusted-proxy=127.0.0.1"
    config += " --client-ip-header=X-Forwarded-For --exempt-path=/healthz"
    asked = ["explain", "127.0.0.1", "--header=X-Forwarded-For: 203.0.113.7"]
    lines = project.run(*asked, MAINTENANCE_TRUSTED_PROXIES="10.0.0.1").stdout.splitlines()
    assert lines[0] == config
    assert "verdict  let through: the client is exempt" in lines
    result = project.run("explain", "10.0.0.1", "--path=/healthz")
    assert "verdict  let through: the path is exempt" in result.stdout
    lines = project.run("check", f"--user={current_user()}").stdout.splitlines()
    assert lines == [config, f"{project.folder}/state: no fault found, for {current_user()}"]
    (project.folder / "state/.maintenance.ip").write_text("127.0.0.1")
    assert project.run("check").returncode == 1


DJANGO_OPTIONS = ["--settings=shop.settings", "--pythonpath=.", "--traceback", "--no-color"]
DJANGO_OPTIONS += ["--skip-checks", "--verbosity=0", "-v2"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([*DJANGO_OPTIONS, "enable", "--message=x"], id="before"),
        pytest.param(["enable", "--message=x", *DJANGO_OPTIONS], id="after"),
        pytest.param(["--dir", "state", *DJANGO_OPTIONS, "enable", "--message", "x"], id="between"),
        pytest.param(["enable", "--message", "run", *DJANGO_OPTIONS], id="after-a-value-run"),
    ],
)
def test_options_of_django_are_accepted(arguments: list[str], django_project: Project) -> None:
    result = django_project.run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert django_project.flags() == ["state"]


@pytest.mark.parametrize("before", ["--traceback", "-v 2 --dir state", "--dir run"])
@pytest.mark.parametrize("dashes", [["--"], []])
def test_options_of_a_command_that_is_run_are_its_own(
    dashes: list[str], before: str, django_project: Project
) -> None:
    (django_project.folder / "run").symlink_to("state")
    program = "import sys; print(sys.argv[1:]); sys.exit(7)"
    given = ["--settings=shop.settings", "--traceback", "-v", "--"]
    result = django_project.run(
        *before.split(), "run", *dashes, sys.executable, "-c", program, *given
    )
    assert (result.returncode, result.stdout) == (7, f"{given}\n")
    assert {*django_project.flags()} - {"run"} == {"state"}


def test_options_of_django_do_what_they_say(django_project: Project) -> None:
    assert "\x1b[32mdisabled" in django_project.run("status", "--force-color").stdout
    assert "\x1b" not in django_project.run("status", "--no-color").stdout
    result = django_project.run("nope", "--traceback")
    assert "Traceback" in result.stderr
    result = django_project.run("nope")
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)


def test_django_shows_the_help_of_the_command(django_project: Project) -> None:
    result = run(sys.executable, "manage.py", "help", "maintenance", cwd=django_project.folder)
    assert "allow-ips" in result.stdout


CALLS = """
import io, json, os
import django
from django.core.management import CommandError, call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
out, err = io.StringIO(), io.StringIO()
call_command("maintenance", "enable", "--ip", "203.0.113.7", stdout=out)
assert out.getvalue().startswith("Enabled maintenance mode in "), out.getvalue()
out = io.StringIO()
call_command("maintenance", "--dir", "state", "status", "--json", stdout=out, verbosity=0)
assert json.loads(out.getvalue())["exempt"] == ["203.0.113.7"]
for out, end in (io.StringIO(), "</html>"), (io.BytesIO(), b"</html>"):
    call_command("maintenance", "preview", stdout=out)
    assert end in out.getvalue(), out.getvalue()
out = io.StringIO()
for arguments, status, message in [
    (["enable", "--ip", "nope"], 2, "nothing was changed"),
    (["--dir", "nowhere", "enable"], 1, "does not exist"),
    (["check", "--page", "nope.html"], 1, "exit status 1"),
    (["maintenance:enable", "--ip", "nope"], 1, "exit status 1"),
]:
    try:
        call_command("maintenance", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        assert (error.returncode, message in str(error)) == (status, True), error
    else:
        raise AssertionError(arguments)
assert "Invalid IP nope" in err.getvalue()
"""


def test_command_is_called_by_a_django_program(django_project: Project) -> None:
    folder = django_project.folder
    result = run(sys.executable, "-c", CALLS, cwd=folder, env=environ(PYTHONPATH=str(folder)))
    assert (result.stdout, result.stderr) == ("", "")
    assert django_project.flags() == ["state"]


def test_log_that_django_disables_is_warned_of_and_shown(django_project: Project) -> None:
    settings = django_project.folder / "shop/settings.py"
    settings.write_text(f"{SETTINGS}LOGGING = {{'version': 1}}\n")
    source = django_project.module.read_text()
    # As a wsgi.py whose imports are in the alphabet's order, and that sets the log up late.
    django_project.module.write_text(f"import maintenance_wsgi.middleware\n{source}")
    (django_project.folder / "state/.maintenance.ip").write_text("nope")
    result = django_project.run("explain", "10.0.0.1")
    assert result.stderr.count("set disable_existing_loggers to False in Django's LOGGING") == 1
    assert "invalid entries are skipped: 'nope' (line 1)" in result.stderr


def test_entry_in_djangos_middleware_is_refused_in_words(django_project: Project) -> None:
    settings = django_project.folder / "shop/settings.py"
    settings.write_text(f"{SETTINGS}MIDDLEWARE = ['maintenance_wsgi.MaintenanceMiddleware']\n")
    program = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; import shop.wsgi"
    result = run(sys.executable, "-c", program, cwd=django_project.folder, code=1)
    assert result.stderr.endswith("in Django, wrap the application in wsgi.py, not MIDDLEWARE\n")


def test_nothing_of_the_frameworks_is_imported_without_need() -> None:
    program = (
        "import sys, maintenance_wsgi, maintenance_wsgi.cli;"
        "print(*{'flask', 'django', 'celery'} & set(sys.modules))"
    )
    assert run(sys.executable, "-c", program).stdout.strip() == ""
