"""What is installed is what was written: the wheel in an environment of its own."""

import json
import os
import re
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import PROGRAMS, ROOT, environ, run

pytestmark = pytest.mark.checkout

PROGRAM = """
import sys
from importlib.metadata import version
import maintenance_wsgi
from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode
assert maintenance_wsgi.__file__.startswith(sys.prefix), maintenance_wsgi.__file__
MaintenanceMode("var").enable()
answers = []
body = MaintenanceMiddleware(print, "var")({}, lambda *answer: answers.append(answer))
assert answers[0][0].startswith("503"), answers
assert b"".join(body).startswith(b"<!DOCTYPE html>")
print(version("maintenance-wsgi"))
"""


def build(target: Path) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, cwd=ROOT)
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in an environment of its own; return where its programs are."""
    (wheel,) = built.glob("*.whl")
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    run(*pip, "install", "-q", wheel, cwd=folder)
    return programs


def test_wheel_holds_every_file_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    package = ROOT / "maintenance_wsgi"
    expected = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert "maintenance_wsgi/py.typed" in held


def test_sdist_holds_what_the_suite_needs_and_no_more(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "examples/quickstart.py"} <= names
    assert {"tests/project/test_packaging.py", "tests/data/client_ip.json"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops <= {
        "maintenance_wsgi",
        "tests",
        "examples",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "PKG-INFO",
        "pyproject.toml",
        ".gitignore",
    }


def test_second_build_is_the_same_to_the_byte(built: Path, tmp_path: Path) -> None:
    again = build(tmp_path)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in built.iterdir()
    }


def test_index_shows_links_that_lead_to_this_version(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(name).decode()
    version = re.search("^Version: (.*)$", text, re.MULTILINE)
    assert version is not None
    targets = re.findall(r'\]\(([^)\s]+)\)|src(?:set)?="([^"]+)"', text)
    shown = [markdown or html for markdown, html in targets]
    assert [target for target in shown if not target.startswith("https://")] == []
    ours = "/maintenance-wsgi/maintenance-wsgi/"
    places = [f"https://github.com{ours}blob", f"https://raw.githubusercontent.com{ours}"[:-1]]
    files = [
        target.removeprefix(f"{place}/v{version[1]}/").partition("#")[0]
        for target in shown
        for place in places
        if target.startswith(f"{place}/")
    ]
    assert "examples/fleet/README.md" in files
    assert [path for path in files if not (ROOT / path).is_file()] == []


def test_index_would_take_it(built: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)


def test_wheel_works_by_itself(built: Path, installed: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (tmp_path / "var").mkdir()
    version = run(installed / "python", "-c", PROGRAM, cwd=tmp_path).stdout.strip()
    assert version in wheel.name
    assert version in run(installed / "maintenance-wsgi", "--version", cwd=tmp_path).stdout
    assert "is enabled" in run(installed / "maintenance-wsgi", "status", cwd=tmp_path).stdout


def test_types_are_complete(installed: Path, tmp_path: Path) -> None:
    """As whoever installs it sees them. Django carries no types, nor does what inherits from it."""
    variables = environ(PATH=f"{installed}:{os.environ['PATH']}")
    command = ["--outputjson", "--ignoreexternal", "--verifytypes", "maintenance_wsgi"]
    result = run(PROGRAMS / "pyright", *command, cwd=tmp_path, env=variables, code=None)
    symbols = json.loads(result.stdout)["typeCompleteness"]["symbols"]
    exported = {symbol["name"]: symbol for symbol in symbols if symbol["isExported"]}
    assert "maintenance_wsgi.MaintenanceMiddleware" in exported
    incomplete = {name for name, symbol in exported.items() if not symbol["isTypeKnown"]}
    assert incomplete == {"maintenance_wsgi.management.commands.maintenance.Command"}


def test_changelog_tells_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\n## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()
