"""Pages of the documentation as programs: their blocks of Python by section, run in order, and the results they make.

Law: a result that a page makes is ok, or its section names what is wrong with it, by the code of each finding.
"""

import functools
import inspect
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import lawful.inference
from lawful.inference.results.result import Result

BLOCK = re.compile(r"^```(?:\{code-cell\}|python)\n((?::[\w-]+:.*?\n)*)(.*?)^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ ", re.MULTILINE)


class Block(NamedTuple):
    """Python of a page, with the line of the page on which it begins, and the text of its section."""

    line: int
    code: str
    section: str


@dataclass
class Made:
    """A result that a page made, where, and what its section says."""

    place: str
    result: Any
    section: str

    def untold(self) -> list[str]:
        """The findings that make it not ok and that its section does not name."""
        told = (finding for finding in self.result.reasons if finding.status and finding.code not in self.section)
        return [f"{self.place}: {finding.code}: {finding.message}" for finding in told]


@dataclass
class Page:
    """A page and what running it made."""

    path: Path
    made: list[Made] = field(default_factory=list)

    @property
    def blocks(self) -> list[Block]:
        """Its blocks of Python, in order."""
        text = self.path.read_text()
        if self.path.suffix == ".ipynb":
            return list(of_notebook(json.loads(text)["cells"]))
        starts = [0, *(match.start() for match in HEADING.finditer(hidden_code(text))), len(text)]
        sections = [text[a:b] for a, b in zip(starts, starts[1:])]
        found = []
        for start, section in zip(starts, sections):
            for match in BLOCK.finditer(section):
                found.append(Block(1 + text.count("\n", 0, start + match.start(2)), match[2], section))
        return found

    def run(self, chosen: Callable[[Block], bool] = lambda block: True) -> dict[str, Any]:
        """Run the blocks in one namespace, as `make docs` does, and note the results that they make.

        Args:
            chosen: which blocks to run.
        """
        names: dict[str, Any] = {"__name__": "page"}
        with results_noted(self):
            for block in filter(chosen, self.blocks):
                exec(compile("\n" * (block.line - 1) + block.code, str(self.path), "exec"), names)
                self.note_values(names, block)
        return names

    def note(self, line: int, result: Any) -> None:
        """Note a result that a line of the page made."""
        block = max((block for block in self.blocks if block.line <= line), key=lambda block: block.line)
        self.made.append(Made(f"{self.path.name}:{line}", result, block.section))

    def note_values(self, names: dict[str, Any], block: Block) -> None:
        """Note values with a verdict of their own, as posteriors of models, that a block bound to a name."""
        known = [made.result for made in self.made]
        for name, value in names.items():
            if hasattr(type(value), "ok") and hasattr(type(value), "reasons") and not any(value is x for x in known):
                self.made.append(Made(f"{self.path.name}:{block.line} {name}", value, block.section))

    def untold(self) -> list[str]:
        """What is wrong with results and is not said."""
        return [told for made in self.made for told in made.untold()]


def hidden_code(text: str) -> str:
    """The text with blanks in place of code, where a comment would look like a heading."""
    return re.sub(r"^```.*?^```", lambda code: re.sub(r"[^\n]", " ", code[0]), text, flags=re.DOTALL | re.MULTILINE)


def of_notebook(cells: list[dict[str, Any]]) -> Iterator[Block]:
    """The cells of a notebook, whose lines are counted from its first cell on, and whose sections begin at headings."""
    line, section, code = 1, "", []
    for cell in [*cells, {"cell_type": "markdown", "source": "# "}]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and HEADING.match(source):
            yield from (Block(at, text, section) for at, text in code)
            section, code = "", []
        section += source + "\n"
        if cell["cell_type"] == "code":
            code.append((line, source))
        line += source.count("\n") + 1


@contextmanager
def results_noted(page: Page) -> Iterator[None]:
    """Note what plans give to lines of the page itself, and what continues a result."""
    places = [(plan, "__call__") for plan in plans()] + [(Result, "extend"), (lawful.inference, "resume")]
    before = [(place, name, getattr(place, name)) for place, name in places]
    for place, name, call in before:
        setattr(place, name, noting(page, call))
    try:
        yield
    finally:
        for place, name, call in before:
            setattr(place, name, call)


def noting(page: Page, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call; what it gives is noted where a line of the page asked for it."""

    @functools.wraps(call)
    def noted(*args: Any, **options: Any) -> Any:
        result = call(*args, **options)
        caller = sys._getframe(1)
        if caller.f_code.co_filename == str(page.path):
            page.note(caller.f_lineno, result)
        return result

    return noted


@functools.cache
def plans() -> tuple[type, ...]:
    """The classes of the library whose calls give something with a verdict."""
    names = (module.name for module in pkgutil.walk_packages(lawful.inference.__path__, "lawful.inference."))
    modules = [import_module(name) for name in names if not name.endswith("__main__")]
    classes = {value for module in modules for value in vars(module).values() if inspect.isclass(value)}
    calls = {value: vars(value).get("__call__") for value in classes if value.__module__.startswith("lawful.")}
    return tuple(value for value, call in calls.items() if call is not None and given_by(call) in ("Result", "Beliefs"))


def given_by(call: Callable[..., Any]) -> str | None:
    """The name of the type that a method says it returns; a method that is checked has the type itself."""
    given = getattr(call, "__annotations__", {}).get("return")
    return getattr(given, "__name__", given)
