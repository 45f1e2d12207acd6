"""Pages without running them: names exist, kernels are written in one form, and the assertion on results can fail."""

import ast
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import lawful
import lawful.models
from lawful import errors, handlers, inference
from lawful.inference import check, graphs, kernels
from tests.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
MODULES = {
    "lawful": lawful, "inference": inference, "models": lawful.models, "handlers": handlers, "errors": errors,
    "kernels": kernels, "check": check, "graphs": graphs,
}  # fmt: skip
# Where calls take a kernel: by number, and by name.
KERNELS = {
    "mcmc": ({1}, "kernel"), "on": ({1}, "kernel"), "cycle": (set(range(9)), ""), "mixture": (set(range(1, 9)), ""),
    "repeat": ({0}, ""), "move": ({0}, ""), "barker": ({0}, ""), "delayed_acceptance": ({1}, "kernel"),
    "parallel_tempering": ({1}, "kernel"), "smc": (set(), "move"), "tempered_smc": (set(), "kernel"),
    "annealed_importance": (set(), "kernel"), "particle_gibbs": ({2}, "kernel"),
}  # fmt: skip

CHAINS = """# Title

```{code-cell}
import jax, numpyro.distributions as dist, lawful
from lawful.inference import kernels, mcmc


def model():
    lawful.sample("x", dist.Normal(0.0, 1.0))


plan = mcmc(model, kernels.mh(), chains=2, warmup=0, draws=20)
```

## Read

WORDS

```{code-cell}
:tags: [remove-input]
# a comment is no heading
print(plan(jax.random.key(0)).posterior["x"].mean())
```
"""


def untold(page, words):
    page.path.write_text(CHAINS.replace("WORDS", words))
    page.run()
    return {told.split(": ")[1] for told in page.untold()}


def test_a_result_that_is_not_ok_has_to_be_named_in_the_section_that_makes_it(tmp_path):
    page = Page(tmp_path / "page.md")
    codes = untold(page, "Twenty draws.")
    assert "LOW_ESS" in codes
    assert [made.place for made in page.made] == ["page.md:22"]
    assert untold(Page(page.path), f"Twenty draws are too few: {', '.join(codes)}.") == set()


def test_code_of_a_page_is_where_the_page_has_it(tmp_path):
    page = Page(tmp_path / "page.md")
    page.path.write_text(CHAINS)
    lines = CHAINS.splitlines()
    assert [lines[block.line - 1] for block in page.blocks] == [block.code.splitlines()[0] for block in page.blocks]
    assert [block.section.splitlines()[0] for block in page.blocks] == ["# Title", "## Read"]


def test_links_of_the_readme_lead_somewhere(root):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (root / "README.md").read_text())
    assert len(links) > 20 and all((root / link).exists() for link in links)


def test_the_page_on_installation_has_every_extra(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    named = re.findall(r"^\| `(\w+)` \|", (root / "docs" / "installation.md").read_text(), re.MULTILINE)
    assert set(named) == set(project["optional-dependencies"])


def of_module(node):
    """What a dotted name stands for that begins with a module of the library; None for all others."""
    if isinstance(node, ast.Name):
        return MODULES.get(node.id)
    base = of_module(node.value) if isinstance(node, ast.Attribute) else None
    if not inspect.ismodule(base):
        return None
    return getattr(base, node.attr) if hasattr(base, node.attr) else import_module(f"{base.__name__}.{node.attr}")


def called(node):
    """The function of a call, where it is the library's; a bare name is one of inferences, kernels or statements."""
    bare = isinstance(node.func, ast.Name) and node.func.id
    spaces = [space for space in (inference, kernels, lawful, check, graphs) if hasattr(space, bare or " ")]
    return getattr(spaces[0], bare) if spaces else of_module(node.func)


def unknown(text):
    """Names and keyword arguments in the text that the library does not have."""
    try:
        tree = ast.parse(text.strip())
    except SyntaxError:
        return
    for node in ast.walk(tree):
        try:
            made = called(node) if isinstance(node, ast.Call) else of_module(node)
        except ImportError:
            yield ast.unparse(node)
            continue
        if isinstance(node, ast.Call) and callable(made):
            known = inspect.signature(made).parameters
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
                yield from (f"{ast.unparse(node)}: {k.arg}" for k in node.keywords if k.arg and k.arg not in known)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_names_and_arguments_in_the_text_of_a_page_exist(path):
    texts = INLINE.findall(FENCED.sub("", path.read_text()))
    names = (text for text in texts if "NAME" not in text and not text.endswith(".py"))
    assert [found for text in names for found in unknown(text)] == []


def test_a_name_or_an_argument_that_is_not_there_is_found():
    assert list(unknown("inference.tempered(model)")) and list(unknown("kernels.nuts(step=0.1)"))
    assert list(unknown("importance(model, particles=10, move=kernel)"))


def bare_proposals(code):
    """Calls that are given a proposal where they take a kernel."""
    tree = ast.parse(code)
    binding = (ast.Assign, ast.FunctionDef)
    proposals = set()
    for node in sorted((n for n in ast.walk(tree) if isinstance(n, (*binding, ast.Call))), key=lambda n: n.lineno):
        if isinstance(node, ast.FunctionDef):
            proposals.add(node.name)
        elif isinstance(node, ast.Assign):
            names = {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            proposals = proposals | names if proposes(node.value, proposals) else proposals - names
        else:
            numbers, named = KERNELS.get(getattr(node.func, "attr", getattr(node.func, "id", "")), ((), ""))
            given = [argument for place, argument in enumerate(node.args) if place in numbers]
            given += [keyword.value for keyword in node.keywords if keyword.arg == named]
            yield from (ast.unparse(argument) for argument in given if proposes(argument, proposals))


def proposes(node, proposals):
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", "") in ("random_walk", "independence")
    return isinstance(node, ast.Lambda) or (isinstance(node, ast.Name) and node.id in proposals)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_proposal_is_made_a_kernel_by_mh_and_never_stands_for_one(path):
    assert list(bare_proposals("\n".join(block.code for block in Page(path).blocks))) == []


def test_a_bare_proposal_is_found():
    assert list(bare_proposals("mcmc(model, kernels.random_walk(0.5))"))
    assert list(bare_proposals("walk = kernels.random_walk(0.5)\nkernels.on('x', walk)"))
    assert not list(bare_proposals("walk = kernels.mh(kernels.random_walk(0.5))\nkernels.on('x', walk)"))
