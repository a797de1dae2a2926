"""The reference that `pydoc maintenance_wsgi` makes of the docstrings."""

import inspect
import pydoc
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import maintenance_wsgi
from maintenance_wsgi import MaintenanceMiddleware, MaintenanceMode, Status
from tests.project.surface import documented

TEXT = pydoc.plain(pydoc.render_doc(maintenance_wsgi))
NAMES = maintenance_wsgi.__all__


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every class, function and method that is public, by name."""
    for name in NAMES:
        value = getattr(maintenance_wsgi, name)
        yield name, value
        for member, found in vars(value).items() if inspect.isclass(value) else ():
            is_called = inspect.isfunction(found) or isinstance(found, classmethod)
            if is_called and (not member.startswith("_") or member == "__call__"):
                yield f"{name}.{member}", getattr(value, member)


CALLABLES = dict(public_callables())
WITHOUT_ARGUMENTS = ("MaintenanceError", "ConfigError", "ConfigTypeError", "StateError")


def docstring(value: object) -> str:
    return inspect.getdoc(value) or ""


def test_exported_names_are_shown_and_no_others() -> None:
    sections = TEXT.partition("\nCLASSES\n")[2].partition("\nDATA\n")[0]
    shown = re.findall(r"^    (?:class ([A-Za-z]\w*)|([A-Za-z]\w*)\()", sections, re.MULTILINE)
    assert sorted(filter(None, map("".join, shown))) == sorted(NAMES)
    assert set(NAMES) <= set(dir(maintenance_wsgi))
    assert not re.search(r"\b(_MODULES|_ERRORS|import_module|TYPE_CHECKING)\b", TEXT)


def test_module_tells_how_to_begin() -> None:
    description = TEXT.partition("\nPACKAGE CONTENTS\n")[0]
    named = [
        "trusted_proxies=",
        "`maintenance-wsgi help`",
        "`python -m maintenance_wsgi`",
        "#readme",
    ]
    named += [name for name in NAMES if name not in {"Status", "wrap"}]
    assert [name for name in named if name not in description] == []


@pytest.mark.parametrize("name", CALLABLES)
def test_docstring_is_complete(name: str) -> None:
    value = CALLABLES[name]
    text = docstring(value)
    assert re.match(r"[A-Z][^\n]*\.(\n|\Z)", text)
    if name not in WITHOUT_ARGUMENTS and value is not Status:
        parameters = [found for found in inspect.signature(value).parameters if found != "self"]
        assert documented(value, "Args") == parameters
    if not inspect.isclass(value) and "Snapshot" not in str(inspect.signature(value)):
        assert re.search(r"^(Return|Tell) |^Returns:\n|^Yields:\n", text, re.MULTILINE)
    assert set(documented(value, "Raises")) <= set(NAMES)


def test_changes_return_what_their_class_describes() -> None:
    methods = [found for name, found in CALLABLES.items() if name.startswith("MaintenanceMode.")]
    assert sum("Snapshot" in str(inspect.signature(method)) for method in methods) == 5
    assert "returns what it was before, and what it is after" in docstring(MaintenanceMode)


def test_attributes_are_described() -> None:
    assert documented(Status, "Attributes") == list(Status.__dataclass_fields__)
    assert documented(MaintenanceMode, "Attributes") == ["store"]
    assert documented(MaintenanceMiddleware, "Attributes") == ["options"]


def test_lines_fit() -> None:
    """Only Python's own lines are longer: a signature with its types."""
    texts = [maintenance_wsgi, *CALLABLES.values()]
    ours = {line.strip() for found in texts for line in docstring(found).splitlines()}
    shown = [line for line in TEXT.splitlines() if line.strip(" |") in ours]
    assert len(shown) > 100
    assert max(map(len, shown)) <= 104


def test_page_of_html_shows_every_name() -> None:
    page = pydoc.HTMLDoc().docmodule(maintenance_wsgi)
    assert [name for name in NAMES if not re.search(f'name="-?{name}"', page)] == []
    assert "_MODULES" not in page
