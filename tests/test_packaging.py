"""What is installed is what was written: the wheel in an environment of its own."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", target, cwd=ROOT)
    return target


def run(*command: object, cwd: Path) -> str:
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False, timeout=110
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


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
    assert {"tests/test_packaging.py", "tests/data/client_ip.json"} <= names
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


def test_wheel_works_by_itself(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (tmp_path / "var").mkdir()
    venv.create(tmp_path / "venv")
    programs = tmp_path / "venv/bin"
    pip = [sys.executable, "-m", "pip", "--python", programs / "python"]
    run(*pip, "install", "-q", wheel, cwd=tmp_path)
    version = run(programs / "python", "-c", PROGRAM, cwd=tmp_path).strip()
    assert version in wheel.name
    assert version in run(programs / "maintenance-wsgi", "--version", cwd=tmp_path)
    assert "is enabled" in run(programs / "maintenance-wsgi", "status", cwd=tmp_path)
