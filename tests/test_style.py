"""Rules of the code base that no linter knows, read from the syntax trees of the three packages.

Law: a rule is a function that gives what breaks it in one file; its test asks every file, and names all offenders.
"""

import ast
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"ppl": "lawful", "inference": "lawful.inference", "models": "lawful.models"}

# The closure rule: an algorithm's randomness is made of sites, so only these turn keys into numbers.
BACKENDS = {
    "inference/laws/picks.py": "the laws of the algorithms' own sites: draw beside the enumeration of the same law",
    "inference/graphs/reading/graph_law.py": "the law of variables of a factor graph: draw beside the enumeration",
    "inference/graphs/moves/member_law.py": "the law of members of bags: draw beside the enumeration of the same law",
    "inference/graphs/graph_draws.py": "the uniforms of an exact draw of a graph, outside of any program",
    "inference/laws/conditional_resampling.py": "the law of ancestors given the first: draw beside the enumeration",
    "inference/laws/multivariate_t.py": "the law of an element that a program starts from: draw beside the density",
    "inference/laws/symmetric_mixture.py": "the law of elements that a program starts from: draw beside the density",
    "inference/laws/resampling_schemes.py": "the uniforms of a resampling scheme, which its enumeration integrates out",
    "inference/plans/guides/batches.py": "the rows of a batch, which move a fit and not the law of the draws",
    "inference/check/identities/identities.py": "points at which densities are tested; no algorithm runs on them",
    "inference/check/identities/coordinates.py": "points at which Jacobians are tested",
    "inference/check/statistics/sbc.py": "ties of ranks",
    "inference/check/statistics/paired.py": "places and ties of ranks, which belong to the test and not to the kernel",
}
KEY_HANDLING = ("key", "split", "fold_in", "clone", "key_data", "wrap_key_data", "key_impl")

# A package imports only those after it. Outside the order stand the command line, and the face of the package, which
# finds `open_run` where inference keeps it.
ORDER = ("lawful.models", "lawful.inference", "lawful")
FACES = ("ppl/__main__.py", "ppl/__init__.py")

JAX_INTERNALS = ("jax.extend", "jax.interpreters", "jax._src")
PICKLES = ("pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")


class Source:
    """A file of the packages.

    Attributes:
        name: its path from the root.
        text: what it holds.
        imports: every module or member that it imports, by absolute dotted name, wherever the statement stands.
        attributes: every dotted name in it, as `jax.random.normal`.
    """

    def __init__(self, name: str, text: str):
        self.name, self.text = name, text
        folder, *inner = name.split("/")[:-1]
        self.package = PACKAGES[folder]
        here = [*self.package.split("."), *inner]
        self.imports, self.attributes = set[str](), set[str]()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                self.imports.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = [*(here[: len(here) - node.level + 1] if node.level else []), *filter(None, [node.module])]
                self.imports.update(".".join([*base, alias.name]) for alias in node.names)
            elif isinstance(node, ast.Attribute):
                self.attributes.add(dotted(node))


def dotted(node: ast.AST) -> str:
    """The dotted name that an attribute is; what is no name has a question mark in its place."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@functools.cache
def sources() -> tuple[Source, ...]:
    files = (file for folder in PACKAGES for file in sorted((ROOT / folder).rglob("*.py")))
    return tuple(Source(str(file.relative_to(ROOT)), file.read_text()) for file in files)


def inside(names: Iterable[str], packages: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(name == package or name.startswith(package + ".") for package in packages)}


def draws(source: Source) -> Iterator[str]:
    """What an algorithm uses of jax.random beyond the handling of keys; the module under another name counts."""
    if source.name.startswith("inference/") and source.name not in BACKENDS:
        handled = tuple(f"jax.random.{name}" for name in KEY_HANDLING)
        yield from inside(source.imports, ("jax.random",)) - inside(source.imports, handled)
        used = inside(source.attributes, ("jax.random",)) - {"jax.random"}
        yield from used - inside(used, handled)


def internals_of_jax(source: Source) -> Iterator[str]:
    yield from inside(source.imports | source.attributes, JAX_INTERNALS)


def imports_upward(source: Source) -> Iterator[str]:
    if source.name not in FACES:
        yield from inside(source.imports, ORDER[: ORDER.index(source.package)])


def pickles(source: Source) -> Iterator[str]:
    """A file from elsewhere must never run code when it is read."""
    yield from inside(source.imports, PICKLES)
    if "allow_pickle=True" in source.text:
        yield "allow_pickle=True"


def offenders(rule: Callable[[Source], Iterator[str]]) -> dict[str, str]:
    """All files that break a rule, with what breaks it."""
    found = {source.name: ", ".join(sorted(rule(source))) for source in sources()}
    return {name: what for name, what in found.items() if what}


def listed(found: dict[str, str], remedy: str) -> str:
    return "\n".join([f"{remedy}:", *(f"  {name}: {what}" for name, what in found.items())])


def test_randomness_of_an_algorithm_is_made_of_sites():
    found = offenders(draws)
    assert not found, listed(found, "draw through a site; a new back end gets a line in BACKENDS, with its reason")
    gone = BACKENDS.keys() - {source.name for source in sources()}
    assert not gone, f"no files, so take them out of BACKENDS: {sorted(gone)}"


def test_one_module_touches_the_internals_of_jax():
    found = offenders(internals_of_jax)
    assert len(found) <= 1 and all(name.startswith("ppl/") for name in found), listed(found, "ask the one in ppl/")


def test_dependencies_point_from_models_to_inference_to_the_language():
    found = offenders(imports_upward)
    assert not found, listed(found, f"import only to the right in {' -> '.join(ORDER)}")


def test_nothing_is_pickled():
    found = offenders(pickles)
    assert not found, listed(found, "write numbers and names, which run nothing when they are read")


INFERENCE = "inference/kernels/new.py"


@pytest.mark.parametrize(
    ("rule", "name", "text", "found"),
    [
        (draws, INFERENCE, "import jax\nx = jax.random.normal(k)", {"jax.random.normal"}),
        (draws, INFERENCE, "import jax\nx = jax.random.split(jax.random.key(0))", set()),
        (draws, INFERENCE, "from jax.random import split", set()),
        (draws, INFERENCE, "from jax import random", {"jax.random"}),
        (draws, INFERENCE, "from jax.random import uniform", {"jax.random.uniform"}),
        (draws, INFERENCE, "import jax.random as r", {"jax.random"}),
        (draws, "models/new.py", "import jax.random as r", set()),
        (internals_of_jax, INFERENCE, "def f():\n    from jax._src import core", {"jax._src.core"}),
        (internals_of_jax, INFERENCE, "x = jax.extend.core", {"jax.extend", "jax.extend.core"}),
        (imports_upward, "ppl/new.py", "def f():\n    from .inference import mcmc", {"lawful.inference.mcmc"}),
        (imports_upward, INFERENCE, "from ...models import llp", {"lawful.models.llp"}),
        (imports_upward, INFERENCE, "import lawful.models", {"lawful.models"}),
        (imports_upward, INFERENCE, "from ... import trace\nfrom ..base import Kernel", set()),
        (imports_upward, FACES[0], "from lawful import inference", set()),
        (pickles, "models/new.py", "from pickle import load", {"pickle.load"}),
        (pickles, "models/new.py", "numpy.load(file, allow_pickle=True)", {"allow_pickle=True"}),
        (pickles, "models/new.py", "numpy.load(file, allow_pickle=False)", set()),
    ],
)  # fmt: skip
def test_a_rule_finds_what_breaks_it(rule, name, text, found):
    assert set(rule(Source(name, text))) == found
