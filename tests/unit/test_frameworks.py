"""Each framework wrapped where its WSGI application is, and the command within Flask and Django."""

import re
import sys
from pathlib import Path
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
from tests.support.processes import PROGRAMS, ROOT, environ, run
from tests.support.wsgi import call, make_environ

README = ROOT / "README.md"
MANAGE = """
import sys
import django
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(INSTALLED_APPS=["maintenance_wsgi"])
django.setup()
execute_from_command_line(sys.argv)
"""


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
    return {"config": config}


def falcon_names() -> dict[str, object]:
    class Home:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            response.text = read_mark(request.env)

    app = falcon.App()
    app.add_route("/", Home())
    return {"app": app}


def bottle_names() -> dict[str, object]:
    app = bottle.Bottle()
    app.route("/", callback=lambda: read_mark(bottle.request.environ))
    return {"default_app": lambda: app}


FRAMEWORKS = {
    "Flask": flask_names,
    "Django": django_names,
    "Pyramid": pyramid_names,
    "Falcon": falcon_names,
    "Bottle": bottle_names,
}


@pytest.fixture(params=FRAMEWORKS)
def framework_application(request: pytest.FixtureRequest, var: Path) -> WSGIApplication:
    """Return an application of each framework, wrapped by the README's own line."""
    names = {"MaintenanceMiddleware": MaintenanceMiddleware, **FRAMEWORKS[request.param]()}
    line = re.search(rf"^(app.*)  # {request.param}\b", README.read_text(), re.MULTILINE)
    assert line is not None
    exec(line[1].replace("/srv/shop/var", str(var)), names)  # noqa: S102 (the README's own code)
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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "var").mkdir(exist_ok=True)
    (tmp_path / "app.py").write_text("import flask\napp = flask.Flask(__name__)\n")
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([PROGRAMS / "flask", "maintenance"], id="flask"),
        pytest.param([sys.executable, "manage.py", "maintenance"], id="django"),
    ],
)
def test_command_within_a_framework(command: list[str], project: Path) -> None:
    results = [
        run(*command, *arguments, cwd=project, env=environ(), code=None)
        for arguments in (["enable", "--ip=203.0.113.7"], ["enable", "--ip=nope"], ["--help"])
    ]
    assert [result.returncode for result in results] == [0, 2, 0], results
    assert results[0].stdout.startswith(f"Enabled maintenance mode in {project}/var\n")
    assert "Invalid IP nope" in results[1].stderr
    assert "allow-ips" in results[2].stdout
    assert (project / "var/.maintenance.flag").exists()


def test_django_shows_the_help_of_the_command(project: Path) -> None:
    result = run(sys.executable, "manage.py", "help", "maintenance", cwd=project)
    assert "allow-ips" in result.stdout


def test_nothing_of_the_frameworks_is_imported_without_need() -> None:
    program = (
        "import sys, maintenance_wsgi, maintenance_wsgi.cli;"
        "print(*{'flask', 'django', 'celery'} & set(sys.modules))"
    )
    assert run(sys.executable, "-c", program).stdout.strip() == ""
