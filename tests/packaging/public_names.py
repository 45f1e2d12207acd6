"""The public names: what `__all__` lists in the three packages and in every module that such a list names.

Refresh the snapshot after a deliberate change, and give the change a line in CHANGELOG.md:

    .venv/bin/python tests/packaging/public_names.py > tests/packaging/public_names.txt
"""

import importlib
from collections.abc import Iterator
from types import ModuleType

PACKAGES = ("lawful", "lawful.inference", "lawful.models")


def names_of(module: ModuleType, prefix: str) -> Iterator[str]:
    """`prefix.name` of each name in the module's `__all__`, and the same inside each module among them."""
    for name in getattr(module, "__all__", ()):
        public = f"{prefix}.{name}"
        yield public
        value = getattr(module, name)
        if isinstance(value, ModuleType) and value.__name__.startswith(prefix + "."):
            yield from names_of(value, public)


def public_names() -> list[str]:
    """All public names, sorted, each once."""
    return sorted({name for package in PACKAGES for name in names_of(importlib.import_module(package), package)})


if __name__ == "__main__":
    print("\n".join(public_names()))
