"""The folders of ppl/, inference/ and models/: imports run one way between them and inside; an idea has one place.

What a folder may import stands in ORDERS, and in the head of its `__init__.py`; imports inside functions and for types
alone count as all others.
"""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import networkx
import pytest

from lawful.form.operations.primitive_rows import ROWS

REPOSITORY = Path(__file__).parents[1]
HOMES = {"lawful": "ppl", "lawful.inference": "inference", "lawful.models": "models"}
BESIDE = "the files beside the folders"
FACE = "the package itself"
# A package, and what stands in it from below to above: its folders, the files beside them (those that stand elsewhere
# by name), and its own `__init__.py`.
ORDERS = {
    "lawful": (
        BESIDE, "form", "distributions", "passes", "backends", "tracing", "language", "handlers", "inspection",
        "interop", "inference", "models", FACE,
    ),
    "lawful.inference": (
        BESIDE, "laws", "findings", "eager", "representations", "summing", "graphs", "transformers", "kernels",
        "devices", "checkpoints", "running", "results", "plans", "algorithms", "check", FACE,
    ),
    "lawful.inference.graphs": (
        "chains", "counts", "model", "exact", "loopy", "moves", BESIDE, "reading", "formats", "methods", FACE,
    ),
    "lawful.inference.transformers": (BESIDE, "gaussian", "propose", "reweigh", FACE),
    "lawful.inference.kernels": (
        "base", "local", "walks", "gibbs", "gradient", "jumps", "combine", "particles", BESIDE, FACE,
    ),
    "lawful.inference.results": (
        BESIDE, "datatree", "files", "report", "result", "collect", "compare", FACE,
    ),
    "lawful.inference.plans": (BESIDE, "chains", "populations", "searches", "guides", FACE),
    "lawful.inference.algorithms": ("eager", BESIDE, FACE),
    "lawful.inference.check": ("programs", "statistics", BESIDE, "exact", "identities", "rows", FACE),
    "lawful.models": (BESIDE, "latent_classes", "gaussian_moe", "llp", "trajectories", "papers", FACE),
    "lawful.models.llp": ("bags", "neighbours", "training", "labels", BESIDE, FACE),
    "lawful.models.trajectories": (
        "model", "reading", "likelihood", "fitting", "tables", "uncertainty", "posterior", "plots", BESIDE, FACE,
    ),
}  # fmt: skip
# Packages whose folders say in their heads what they may import, and whose files begin with their names.
HEADED = ("lawful", "lawful.inference", "lawful.models.llp", "lawful.models.trajectories")
MAINS = {"__main__", "command_line"}  # they stand with the face of their package
# Imports inside functions: the module, and why it is read late. What only takes long to load is loaded lazily.
DEFERRED = {
    "lawful.__main__": "the command line answers --help without loading JAX",
    "lawful.inference.results.report.page": "jinja2 may be missing",
    "lawful.inference.checkpoints.stored_run": "zarr may be missing",
    "lawful.inference.plans.optimisers": "optax may be missing",
    "lawful.inference.laws.flow": "flowjax may be missing",
    "lawful.inference.running.bar": "tqdm may be missing",
    "lawful.inference.running.memory": "not every system has limits of resources",
    "lawful.models.gaussian_moe.merging": "trees of merged components are rarely asked for, and take long to load",
    "lawful.models.llp": "scikit-learn may be missing",
}
# What models read inside functions, besides: frames, pictures and learners, which extras bring or take long to load.
OPTIONAL = {"arviz_base", "diffrax", "faiss", "matplotlib", "narwhals", "optax", "pandas", "sklearn", "xarray"}
MOST_FILES = 25
# Places that ask what kind of node a node is, outside the interpreter and the pass that threads values through sites.
ASKING = {"lawful.form.nodes", "lawful.form.rewriting", "lawful.form.fold", "lawful.passes.thread_sites"}
MOST_ASKED = 7
# Modules that write what goes into loops and branches and comes out. What belongs to sites goes through thread_sites.
CARRYING = {
    "builder": "makes them",
    "from_jaxpr": "makes them of those of JAX",
    "liveness": "takes away what nothing reads",
    "thread_sites": "carries values of sites",
    "add_plate": "carries the log weight of a plate",
    "common_subexpressions": "brings in what was computed outside",
    "unchain_loops": "takes sums out of the carry",
}
CARRIED = {"constants", "init", "xs", "carry_out", "ys", "operands", "outs"}
HASHING = {"lawful.form.digest", "lawful.inference.checkpoints.checkpoint_file"}  # the latter seals its own files
MOST_WEAK = 1  # what is known of a form stands in the form; one dictionary is for nodes, values and functions
ROOM = "lawful.form.operations"  # where equations of JAX are read, and its primitives are known
INSIDES = {"primitive", "params", "eqns", "invars", "outvars"}  # of an equation, and of a traced program
MOST_NAMED = 21  # places of inference that read an equation of JAX, or name its primitives
MOST_CLASSES = 10  # questions of algorithms after the class of a law of their own


@functools.cache
def trees(package: str = "") -> dict[str, tuple[Path, ast.Module]]:
    """Each module with its file and its syntax tree: those of one package, or of all."""
    if package:
        home = REPOSITORY / HOMES[package]
        return {module: about for module, about in trees().items() if about[0].is_relative_to(home)}
    found = {}
    for name, home in HOMES.items():
        for file in sorted((REPOSITORY / home).rglob("*.py")):
            parts = file.relative_to(REPOSITORY / home).with_suffix("").parts
            found[".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])] = (
                file,
                ast.parse(file.read_text()),
            )
    return found


@pytest.fixture(scope="module", autouse=True)
def trees_are_let_go() -> Iterator[None]:
    """A search for garbage would look at each of their nodes."""
    yield
    trees.cache_clear()
    nodes.cache_clear()


@functools.cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a syntax tree."""
    return list(ast.walk(tree))


def room(module: str, package: str) -> str:
    """The part of a package that a module stands in."""
    inner = module.removeprefix(package).removeprefix(".").partition(".")[0]
    if not inner or inner in MAINS:
        return FACE
    return inner if inner in ORDERS[package] else BESIDE


def imported(module: str, file: Path, tree: ast.AST) -> Iterator[str]:
    """The modules of lawful that a piece of a module imports, wherever the statements stand."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lawful")
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            if base.split(".")[0] == "lawful":
                yield from (name if (name := f"{base}.{a.name}") in trees() else base for a in node.names)


@functools.cache
def uses(module: str) -> tuple[str, ...]:
    """The modules that a module imports."""
    return tuple(imported(module, *trees()[module]))


def upward(module: str, names: Iterable[str]) -> list[str]:
    """The modules among those that a module imports that stand above it in a package that holds both."""
    return [
        name
        for name in names
        if name not in ("lawful", module)
        and any(
            order.index(room(name, package)) > order.index(room(module, package))
            for package, order in ORDERS.items()
            if all(f"{one}.".startswith(f"{package}.") for one in (module, name))
        )
    ]


def test_no_module_imports_from_a_folder_above_its_own():
    found = {module: above for module in trees() if (above := upward(module, uses(module)))}
    assert not found, f"import only to the left in ORDERS: {found}"


def test_no_modules_import_each_other_in_a_circle():
    graph = networkx.DiGraph()
    for module in trees():
        graph.add_edges_from((module, name) for name in uses(module) if name not in (module, "lawful"))
    graph.remove_nodes_from([module for package in HOMES for module in trees(package) if room(module, package) == FACE])
    assert [group for group in networkx.strongly_connected_components(graph) if len(group) > 1] == []


def private(tree: ast.AST, public: Iterable[str]) -> list[str]:
    """What is imported from below `models` and is no public name of the library."""
    asked = [alias.name for n in nodes(tree) if isinstance(n, ast.Import) for alias in n.names]
    froms = [n for n in nodes(tree) if isinstance(n, ast.ImportFrom) and not n.level]
    asked += [f"{n.module}.{alias.name}" for n in froms for alias in n.names]
    ours = (name for name in asked if name.startswith("lawful.") and not name.startswith("lawful.models"))
    return [name for name in ours if name not in public and name not in HOMES]


def test_models_import_public_names_alone():
    public = set((REPOSITORY / "tests/packaging/public_names.txt").read_text().split())
    found = {module: names for module, (_, tree) in trees("lawful.models").items() if (names := private(tree, public))}
    assert found == {}


def late(tree: ast.Module) -> set[str]:
    """The libraries that functions import, "" for a module of the same package."""
    inner = [function for function in nodes(tree) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = [node for function in inner for node in ast.walk(function)]
    names = [alias.name for node in found if isinstance(node, ast.Import) for alias in node.names]
    names += ["" if node.level else str(node.module) for node in found if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_imports_inside_functions_have_a_reason():
    found = {m: late(tree) - (OPTIONAL if m.startswith("lawful.models") else set()) for m, (_, tree) in trees().items()}
    assert {module for module, names in found.items() if names} == DEFERRED.keys()


def test_a_folder_holds_no_more_files_than_one_can_see_at_once():
    homes = [REPOSITORY / home for home in HOMES.values()]
    folders = [folder for home in homes for folder in (home, *home.rglob("*/")) if folder.is_dir()]
    sizes = {folder: sum(file.suffix == ".py" for file in folder.iterdir()) for folder in folders}
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}


def title(file: Path, tree: ast.Module) -> str:
    """The first words of a file, up to a colon, if they leave out a word of its name."""
    words = (file.parent if file.stem == "__init__" else file).stem.split("_")
    head = (ast.get_docstring(tree) or "").partition("\n")[0].partition(":")[0]
    return "" if all(word in re.sub("[^a-z0-9]", "", head.lower()) for word in words) else head


def test_the_head_of_a_file_begins_with_its_name():
    others = {m for m in trees("lawful.models") if not m.startswith(HEADED[2:])}
    ours = {
        m: about for m, about in trees().items() if m not in {"lawful", *others} and m.rpartition(".")[2] not in MAINS
    }
    found = {m: title(*about) for m, about in ours.items()}
    assert {m: head for m, head in found.items() if head} == {}


@pytest.mark.parametrize("package", HEADED)
def test_the_head_of_a_folder_says_what_it_may_import(package):
    folders = [name for name in ORDERS[package] if name not in (BESIDE, FACE, "inference", "models")]
    for place, name in enumerate(folders):
        said = f"May import: {', '.join(folders[:place]) or 'no other folder'}."
        inside = (about for m, about in trees().items() if f"{m}.".startswith(f"{package}.{name}."))
        heads = [" ".join(ast.get_docstring(tree).split()) for file, tree in inside if file.name == "__init__.py"]
        assert heads and all(said in head for head in heads), f"{package}.{name}: {said}"


def test_the_page_on_the_architecture_names_every_folder_and_only_what_exists():
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", page)) - {"ppl/", "inference/", "models/", "tests/additions/"}
    homes = [REPOSITORY / home for home in HOMES.values()]
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []
    folders = {f"{file.parent.relative_to(home)}/" for home in homes for file in home.rglob("*/__init__.py")}
    assert folders <= named, folders - named


def test_whether_two_things_are_the_same_is_asked_of_one_digest():
    files = {module: file for home in ("lawful", "lawful.inference") for module, (file, _) in trees(home).items()}
    assert {module for module, file in files.items() if "hashlib" in file.read_text()} == HASHING


def asks(tree: ast.AST) -> int:
    """Count the calls of isinstance that name loops or branches."""
    calls = (n for n in nodes(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "isinstance")
    kinds = ({name.id for name in ast.walk(call.args[1]) if isinstance(name, ast.Name)} for call in calls)
    return sum(not names.isdisjoint({"Loop", "Branch"}) for names in kinds)


def carries(tree: ast.AST) -> bool:
    """Tell whether loops or branches are made, or are given other forms together with other inputs or outputs."""
    calls = [(getattr(n.func, "id", ""), {k.arg for k in n.keywords}) for n in nodes(tree) if isinstance(n, ast.Call)]
    return any(
        name in ("Loop", "Branch") or (name == "replace" and {"body", "forms"} & set(given) and CARRIED & set(given))
        for name, given in calls
    )


def weak(tree: ast.AST) -> int:
    """Count the weak dictionaries."""
    calls = (n.func for n in nodes(tree) if isinstance(n, ast.Call))
    names = ("WeakKeyDictionary", "WeakValueDictionary")
    return sum(getattr(call, "attr", getattr(call, "id", "")) in names for call in calls)


def texts(tree: ast.AST) -> list[str]:
    """All texts of an expression, each word by itself."""
    found = (n.value for n in nodes(tree) if isinstance(n, ast.Constant))
    return [word for text in found if isinstance(text, str) for word in text.split()]


def primitives_read(tree: ast.AST) -> Iterator[str]:
    """The places that read an equation of JAX, compare with a primitive's name, or are a table by such names."""
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and node.attr in INSIDES:
            yield f"{node.lineno}: .{node.attr}"
        elif isinstance(node, ast.Compare) and not ROWS.keys().isdisjoint(texts(node)):
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Dict | ast.Set | ast.Tuple | ast.Call):
            keys = node.keys if isinstance(node, ast.Dict) else [node]
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") != "split":
                continue
            words = [word for key in keys if key is not None for word in texts(key)]
            if len(ROWS.keys() & set(words)) > 2:
                yield f"{node.lineno}: a table"


def test_primitives_of_jax_are_known_in_one_room():
    """What is known of a primitive is a row there; what stands in an equation is asked of the equation."""
    found = {m: [*primitives_read(tree)] for m, (_, tree) in trees("lawful").items() if not m.startswith(ROOM)}
    assert {module: places for module, places in found.items() if places} == {}


def test_few_places_of_inference_name_primitives_of_jax():
    files = {str(file): file.read_text() for file in (REPOSITORY / "inference").rglob("*.py")}
    found = {n: [*primitives_read(ast.parse(t))] for n, t in files.items() if "form.operations" in t or "eqn" in t}
    assert sum(map(len, found.values())) <= MOST_NAMED, {file: places for file, places in found.items() if places}


def test_few_places_ask_whether_a_node_is_a_loop_or_a_branch():
    """An interpreter of forms is a `Fold`, a walk that needs what stands around a node is `placed`."""
    found = {module: asks(tree) for module, (_, tree) in trees("lawful").items() if module not in ASKING}
    assert sum(found.values()) <= MOST_ASKED, {module: count for module, count in found.items() if count}


def test_values_of_sites_go_through_loops_and_arms_in_one_place():
    """A pass that brings values to sites, or takes them out, is a `Rule` of thread_sites."""
    assert {module.split(".")[-1] for module, (_, tree) in trees("lawful").items() if carries(tree)} == CARRYING.keys()


def test_few_modules_remember_something_of_a_form():
    files = [file for folder in ("ppl", "inference", "models") for file in (REPOSITORY / folder).rglob("*.py")]
    found = {file: weak(ast.parse(file.read_text())) for file in files}
    assert sum(found.values()) <= MOST_WEAK, {file: count for file, count in found.items() if count}


def asked_of_laws(tree: ast.AST) -> tuple[int, int]:
    """Count the calls of getattr and hasattr on laws, and those of isinstance that name a class of laws."""
    by_name = by_class = 0
    for call in (n for n in nodes(tree) if isinstance(n, ast.Call) and len(n.args) > 1):
        asked, first = getattr(call.func, "id", ""), call.args[0]
        of_law = "law" in (getattr(first, "id", ""), getattr(first, "attr", ""))
        by_name += asked in ("getattr", "hasattr") and of_law
        names = {name.id for name in ast.walk(call.args[1]) if isinstance(name, ast.Name)} - {"BoundLaw"}
        by_class += asked == "isinstance" and any(name.endswith("Law") for name in names)
    return by_name, by_class


def test_a_law_answers_by_its_members_whatever_its_class():
    """The members stand in `distributions/protocol.py`, with defaults; algorithms know the laws of their own sites."""
    inner = {m: asked_of_laws(t) for m, (_, t) in trees("lawful").items() if room(m, "lawful") != "distributions"}
    assert {m: found for m, found in inner.items() if any(found)} == {}
    outer = {m: asked_of_laws(tree) for m, (_, tree) in trees("lawful.inference").items()}
    assert {m: by_name for m, (by_name, _) in outer.items() if by_name} == {}
    assert sum(by_class for _, by_class in outer.values()) <= MOST_CLASSES, outer


@pytest.mark.parametrize(
    ("module", "text", "found"),
    [
        ("lawful.form.new", "from ..passes.record import record", ["lawful.passes.record"]),
        ("lawful.form.new", "def f():\n    from lawful.inference import smc", ["lawful.inference"]),
        ("lawful.form.new", "if TYPE_CHECKING:\n    from ..interop.density import Density", ["lawful.interop.density"]),
        ("lawful.passes.new", "from ..form.builder import Block\nfrom .record import record", []),
        ("lawful.errors", "from .form import Form", ["lawful.form"]),
        ("lawful.inference.laws.new", "from ..kernels.base.base import State", ["lawful.inference.kernels.base.base"]),
        ("lawful.inference.kernels.base.new", "from ..local.arms import arms", ["lawful.inference.kernels.local.arms"]),
        ("lawful.inference.kernels.local.new", "from ..base.base import State\nfrom ...laws.resampling import ess", []),
        ("lawful.form.new", "def f():\n    from .. import inference", ["lawful.inference"]),
    ],
)
def test_the_rule_of_the_order_finds_what_breaks_it(module, text, found):
    assert upward(module, imported(module, Path("new.py"), ast.parse(text))) == found


def test_the_rule_of_the_heads_finds_what_breaks_it():
    assert title(Path("passes/add_plate.py"), ast.parse('"""Lift: many runs at once."""')) == "Lift"
    assert title(Path("passes/add_plate.py"), ast.parse('"""Add plate: many runs at once."""')) == ""


@pytest.mark.parametrize(
    "text",
    [
        "eqn.primitive.name",
        "equation.params['axes']",
        "name == 'exp'",
        "name in ('log', 'other')",
        "RULES = {'add': 1, 'sub': 2, 'mul': 3}",
        "NAMES = frozenset('add sub mul'.split())",
    ],
)
def test_the_rule_of_the_primitives_finds_what_breaks_it(text):
    assert len([*primitives_read(ast.parse(text))]) == 1
    assert not [*primitives_read(ast.parse("axis in ('row', 'column') or label('exp')"))]


def test_the_counts_find_what_they_count():
    text = "import lawful.form\nfrom lawful import inference, sample\nfrom lawful.inference.laws.new import law"
    assert private(ast.parse(text), {"lawful.sample"}) == ["lawful.form", "lawful.inference.laws.new.law"]
    text = "_seen: weakref.WeakKeyDictionary[Form, int] = weakref.WeakKeyDictionary()\nisinstance(n, Site | Loop)"
    assert (asks(ast.parse(text)), weak(ast.parse(text))) == (1, 1)
    assert carries(ast.parse("replace(node, body=new, ys=(*node.ys, extra))"))
    assert not carries(ast.parse("replace(node, body=new)"))
    text = 'getattr(site.law, "units")\nhasattr(law, "base")\nisinstance(x, LanesLaw)\nisinstance(x, BoundLaw)'
    assert asked_of_laws(ast.parse(text)) == (2, 1)
