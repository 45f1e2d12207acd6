"""Tests by what their markers say: read from the sources, so that nothing is imported to find them.

Law: a marker that names something, as `@pytest.mark.fault(11)`, stands on the function of a test, and is found there.
"""

import ast
import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Marked:
    """A test with a marker.

    Attributes:
        file: its file, from the folder of the tests.
        test: its name.
        named: what the marker names.
    """

    file: str
    test: str
    named: tuple[Any, ...]

    def __str__(self) -> str:
        """As pytest has it, without its folder."""
        return f"{Path(self.file).name}::{self.test}"

    @property
    def module(self) -> Any:
        """The module of the test, which is imported."""
        return import_module("tests." + self.file.removesuffix(".py").replace("/", "."))

    @property
    def function(self) -> Callable[..., Any]:
        """The test itself."""
        return getattr(self.module, self.test)


@functools.cache
def marked(marker: str, tests: Path = TESTS) -> tuple[Marked, ...]:
    """Find the tests with a marker, in the order of their files and lines.

    Raises: ValueError where the marker stands on anything but the function of a test, or names what is not written out.
    """
    files = ((file, file.read_text()) for file in sorted(tests.rglob("test_*.py")))
    found = [(file, text) for file, text in files if f"mark.{marker}(" in text]
    return tuple(one for file, text in found for one in _of_file(file.relative_to(tests).as_posix(), text, marker))


def _of_file(file: str, text: str, marker: str) -> list[Marked]:
    tree, decorators = ast.parse(text), {}
    for node in tree.body:
        decorators |= {id(decorator): node for decorator in getattr(node, "decorator_list", ())}
    found = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == f"pytest.mark.{marker}":
            test = getattr(decorators.get(id(call)), "name", "")
            if not test.startswith("test_") or not all(isinstance(named, ast.Constant) for named in call.args):
                raise ValueError(f"{file}:{call.lineno}: {marker} marks no test, or names what is not written out")
            found.append((call.lineno, Marked(file, test, tuple(ast.literal_eval(named) for named in call.args))))
    return [one for _, one in sorted(found, key=lambda one: one[0])]
