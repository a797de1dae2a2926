"""What GitHub runs and shows is checked here, as far as it can be away from GitHub."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.proxies.tables import PROXIES
from tests.live.servers.test_servers import SERVERS
from tests.support.oracles import TARGETS
from tests.support.processes import PROGRAMS, ROOT, run, unmeasured

pytestmark = pytest.mark.checkout

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
FORMS = [path for path in sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml")) if path.name != "config.yml"]


def jobs_of(name: str) -> dict[str, Any]:
    text = (GITHUB / "workflows" / name).read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE/config.yml"]),
        ("vendor.compose-spec", [ROOT / "examples/fleet/compose.yaml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_schema_is_kept(schema: str, paths: list[Path]) -> None:
    run(PROGRAMS / "check-jsonschema", "--builtin-schema", schema, *paths)


def test_linter_finds_no_weakness() -> None:
    run(PROGRAMS / "zizmor", "--offline", "--no-progress", GITHUB)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_by_its_hash(path: Path) -> None:
    used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


@pytest.mark.parametrize("job", ["quick", "wheel"])
def test_each_python_that_is_supported_is_tested(job: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.[0-9]+)'", str(project["classifiers"]))
    assert jobs_of("ci.yml")[job]["strategy"]["matrix"]["python"] == named
    assert f">={named[0]}" == project["requires-python"]


def test_each_target_is_fuzzed_for_ten_minutes() -> None:
    job = jobs_of("fuzz.yml")["fuzz"]
    assert job["strategy"]["matrix"]["target"] == list(TARGETS)
    assert 'tests.chaos.fuzz "$TARGET" corpus -max_total_time=600' in str(job["steps"])


@pytest.mark.parametrize("job", ["build-again", "publish"])
@pytest.mark.parametrize(
    ("change", "code"),
    [("true", 0), ("echo b >>a.whl", 1), ("touch b.whl", 1), ("rm a.whl", 1)],
    ids=["same", "changed", "added", "removed"],
)
def test_hashes_are_compared(job: str, change: str, code: int, tmp_path: Path) -> None:
    steps = [step["run"] for step in jobs_of("ci.yml")["build"]["steps"] if "run" in step]
    (compare,) = (step for step in jobs_of("ci.yml")[job]["steps"] if "HASHES" in str(step))
    assert compare["env"] == {"HASHES": "${{ needs.build.outputs.hashes }}"}
    script = f"""
mkdir dist; echo a >dist/a.whl; export GITHUB_OUTPUT=output
{steps[-1]}
export HASHES=$(sed s/hashes=// output)
(cd dist; {change})
{compare["run"]}
"""
    run("/bin/bash", "-c", script, cwd=tmp_path, code=code)


def test_nothing_is_published_untested() -> None:
    jobs = jobs_of("ci.yml")
    assert {"everything", "build", "build-again", "wheel"} == set(jobs["publish"]["needs"])
    assert {"checkout", "quick"} == set(jobs["everything"]["needs"])


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_form_asks_for_what_exists(form: Path, open_folder: Path) -> None:
    lines = re.findall("`(maintenance-wsgi [^`]+)`", form.read_text(encoding="utf-8"))
    assert any(" check " in line for line in lines)
    for line in lines:
        command = line.replace("/srv/shop/var", str(open_folder)).replace("...", "203.0.113.7")
        run(*shlex.split(command.replace("ADDRESS", "10.0.0.1")), env=unmeasured())


@pytest.mark.parametrize("name", sorted({name.partition("-")[0] for name in [*PROXIES, *SERVERS]}))
def test_guide_has_a_row_for_what_is_tested(name: str) -> None:
    guide = (ROOT / "examples/proxies/README.md").read_text(encoding="utf-8").lower()
    assert re.search(rf"^\| {name} .*[0-9]+(\.[0-9]+)? \|", guide, re.MULTILINE)


def test_contributors_run_the_command_of_ci() -> None:
    text = (GITHUB / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^    (python3 -m venv .*pytest)$", text, re.MULTILINE)
    assert command in (ROOT / ".ci/run").read_text()
    for path in re.findall(r"`((?:tests|maintenance_wsgi|examples)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
