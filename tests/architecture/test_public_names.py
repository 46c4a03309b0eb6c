"""The public surface: every name is there, documented, lazily loaded, and called with explicit arguments."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bayescale

NAMES = [name for name in bayescale.__all__ if name != "__version__"]
#: Keywords that are names of the user's: parameters of a law, columns of a table.
FREE_KEYWORDS = {"law", "Fit.select", "Ensemble.select"}


def functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Every public function, and every public method of a public class, that this package defines."""
    for name in NAMES:
        value = getattr(bayescale, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            for method, member in vars(value).items():
                member = getattr(member, "__func__", member)
                if inspect.isfunction(member) and (method == "__init__" or not method.startswith("_")):
                    yield f"{name}.{method}", member


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_exists_and_says_what_it_is(name: str) -> None:
    value = getattr(bayescale, name)
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert own and own.strip(), f"bayescale.{name} has no docstring"
    assert not own.startswith(f"{name}("), f"bayescale.{name} has only the docstring that dataclass writes"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_in_the_reference(name: str, root: Path) -> None:
    entries = {line.strip() for page in (root / "docs" / "reference").glob("*.md") for line in page.read_text().splitlines()}
    assert name in entries, f"bayescale.{name} is on no page of docs/reference"


def test_the_reference_lists_only_public_names(root: Path) -> None:
    listed = set()
    for page in (root / "docs" / "reference").glob("*.md"):
        _, *tables = page.read_text().split(".. autosummary::")
        for table in tables:
            lines = table.split("```")[0].splitlines()
            listed |= {line.strip() for line in lines if line.strip() and not line.strip().startswith(":")}
    assert listed == set(NAMES)


def test_the_table_of_homes_is_the_public_list(root: Path) -> None:
    assert set(bayescale._HOME) == set(NAMES)


def test_type_checkers_see_what_is_loaded(root: Path) -> None:
    tree = ast.parse((root / "bayescale" / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {a.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert seen == {name: f"bayescale.{module}" for name, module in bayescale._HOME.items()}


def test_no_public_name_is_a_subpackage(root: Path) -> None:
    packages = {path.parent.name for path in (root / "bayescale").glob("*/__init__.py")}
    assert packages
    assert not packages & set(NAMES), "importing the subpackage would hide the function"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        bayescale.forcast  # noqa: B018 - the look-up is what is tested


def test_no_public_function_takes_free_keywords() -> None:
    takes = {
        name
        for name, function in functions()
        if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    }
    assert takes <= FREE_KEYWORDS, f"**kwargs on {sorted(takes - FREE_KEYWORDS)}"


def test_no_public_function_has_a_mutable_default() -> None:
    mutable = [
        f"{name}({p.name}={p.default!r})"
        for name, function in functions()
        for p in inspect.signature(function).parameters.values()
        if isinstance(p.default, list | dict | set)
    ]
    assert not mutable
