"""Run-time type checks of the library while tests run: importing this module checks all of it that is imported later.

Functions of modules and classes are checked, and what dataclasses are made of; where a module annotates shapes, also
that axes of one name are equally long. Functions that are made inside functions are left to mypy, as a check of them is
compiled anew whenever they are made. Why not the import hook of jaxtyping: it binds the arguments of every call, and
most modules have no shapes; that took a tenth of the time of all tests.
"""

import ast
import dataclasses
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

PACKAGE = "lawful"
NAME = "__checked__"
# Code of a module is made again when the module is younger; when this file changes, it is looked for elsewhere.
OWN = sha256(Path(__file__).read_bytes()).hexdigest()[:16]
CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / f"checked-{OWN}"
types_checked = beartype(conf=BeartypeConf(violation_type=TypeCheckError))  # one error, with shapes or without


class CheckedFinder(PathFinder):
    """Finds the modules of the library, and has them loaded with checks."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.split(".")[0] != PACKAGE:
            return None
        spec = super().find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = CheckedLoader(spec.loader.name, spec.loader.path)
        return spec


class CheckedLoader(SourceFileLoader):
    """Loads a module whose functions and classes are decorated, and caches its code apart from that for users."""

    def get_code(self, fullname: str) -> CodeType | None:
        before, sys.pycache_prefix = sys.pycache_prefix, str(CACHE)
        try:
            return super().get_code(fullname)
        finally:
            sys.pycache_prefix = before

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = ast.parse(data, path)
        leave_to_mypy(tree)
        decorate(tree.body)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)

    def exec_module(self, module: ModuleType) -> None:
        shapes = b"from jaxtyping import" in self.get_data(self.path)
        setattr(module, NAME, checked_with(jaxtyped(typechecker=beartype) if shapes else types_checked))
        super().exec_module(module)


def leave_to_mypy(tree: ast.Module) -> None:
    """Widen what is annotated with a name that is imported under `if TYPE_CHECKING`: at run time it is not known."""
    blocks = [n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    imports = [n for block in blocks for n in block.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {alias.asname or alias.name for n in imports for alias in n.names}
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            hint = getattr(node, field, None)
            if hint is not None and names & {n.id for n in ast.walk(hint) if isinstance(n, ast.Name)}:
                setattr(node, field, ast.Name("object", ast.Load()))


def decorate(body: Sequence[ast.stmt]) -> None:
    """Decorate functions innermost, as other decorators may hide annotations, and classes outermost."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list.append(ast.copy_location(ast.Name(NAME, ast.Load()), node))
        elif isinstance(node, ast.ClassDef):
            node.decorator_list.insert(0, ast.copy_location(ast.Name(NAME, ast.Load()), node))
            decorate(node.body)


def checked_with(check: Callable[..., Any]) -> Callable[[Any], Any]:
    """Make the decorator of one module: of a class it checks how a dataclass is made."""

    def decorator(made: Any) -> Any:
        if not isinstance(made, type):
            return check(made)
        if dataclasses.is_dataclass(made) and "__init__" in vars(made):
            made.__init__ = types_checked(made.__init__)
        return made

    return decorator


sys.meta_path.insert(0, CheckedFinder)
