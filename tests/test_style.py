"""Rules of the code base that no linter knows, read from the syntax trees of the three packages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"ppl": "lawful", "inference": "lawful.inference", "models": "lawful.models"}
FILES = sorted(file for folder in PACKAGES for file in (ROOT / folder).rglob("*.py"))

# The closure rule: an algorithm's randomness is made of sites, so only these turn keys into numbers.
BACKENDS = {
    "inference/laws.py": "the laws of the algorithms' own sites: draw beside the enumeration of the same law",
    "inference/factor_graphs/graph_law.py": "the law of variables of a factor graph: draw beside the enumeration",
    "inference/conditional_resampling.py": "the law of ancestors given the first: draw beside the enumeration",
    "inference/numerics/scheme.py": "the uniforms of a resampling scheme, which its enumeration integrates out",
    "inference/check/identities.py": "points at which density identities are tested; no algorithm runs on them",
    "inference/check/coordinates.py": "points at which Jacobians are tested",
    "inference/check/sbc.py": "ties of ranks",
    "inference/check/paired.py": "places and ties of ranks, which belong to the test and not to the kernel",
}
KEY_HANDLING = {"key", "split", "fold_in", "clone", "key_data", "wrap_key_data", "key_impl"}

# A package imports only those after it. The command line, ppl/__main__.py, stands outside the order.
ORDER = ("lawful.models", "lawful.inference", "lawful")
COMMAND_LINE = "ppl/__main__.py"

JAX_INTERNALS = ("jax.extend", "jax.interpreters", "jax._src")
PICKLES = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def package_of(file: Path) -> list[str]:
    """The package that a file's relative imports start from."""
    folder, *inner = file.relative_to(ROOT).parent.parts
    return [*PACKAGES[folder].split("."), *inner]


def imports(file: Path) -> Iterator[str]:
    """Every module or member that the file imports, by its absolute dotted name, wherever the statement stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package_of(file)[: len(package_of(file)) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def attributes(file: Path) -> Iterator[str]:
    """Every dotted name in the file, as `jax.random.normal`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def draws(file: Path) -> set[str]:
    """What the file uses of jax.random beyond the handling of keys; the module under another name counts as such."""
    named = {
        match[1] for name in [*imports(file), *attributes(file)] if (match := re.match(r"jax\.random\.(\w+)", name))
    }
    return (named - KEY_HANDLING) | {name for name in imports(file) if name == "jax.random"}


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file).startswith("inference/")], ids=name_of)
def test_randomness_of_an_algorithm_is_made_of_sites(file):
    if name_of(file) not in BACKENDS:
        assert not draws(file), "draw through a site; a new backend gets a line in BACKENDS, with its reason"


@pytest.mark.slow
def test_one_module_touches_the_internals_of_jax():
    touching = {
        name_of(file)
        for file in FILES
        if any(inside(name, JAX_INTERNALS) for source in (imports(file), attributes(file)) for name in source)
    }
    assert len(touching) <= 1
    assert all(name.startswith("ppl/") for name in touching)


@pytest.mark.parametrize("file", [file for file in FILES if name_of(file) != COMMAND_LINE], ids=name_of)
def test_dependencies_point_from_models_to_inference_to_the_language(file):
    package = PACKAGES[file.relative_to(ROOT).parts[0]]
    above = ORDER[: ORDER.index(package)]
    assert [name for name in imports(file) if inside(name, above)] == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_pickled(file):
    """A file from elsewhere must never run code when it is read."""
    assert [name for name in imports(file) if inside(name, PICKLES)] == []
    assert "allow_pickle=True" not in file.read_text()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import jax\nx = jax.random.normal(k)", {"normal"}),
        ("import jax\nx = jax.random.split(jax.random.key(0))", set()),
        ("from jax import random", {"jax.random"}),
        ("from jax.random import uniform", {"uniform"}),
        ("import jax.random as r", {"jax.random"}),
    ],
)
def test_the_search_for_draws_finds_each_way_to_write_one(source, found, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_style.package_of", lambda _: ["lawful", "inference"])
    file = tmp_path / "module.py"
    file.write_text(source)
    assert draws(file) == found
