"""Sphinx builds these pages: MyST Markdown, notebooks run at every build, the reference from the docstrings."""

import importlib.metadata
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.faults.page import with_tests  # noqa: E402 - found by the line above

project = "lawful"
author = copyright = "The lawful developers"
version = release = importlib.metadata.version("lawful")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_design",
]
exclude_patterns = ["_build", "jupyter_execute"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# A page shows what the library of today does: its cells run at every build, and a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_render_markdown_format = "myst"  # tables, which plain CommonMark lacks
nb_execution_timeout = 600
nb_merge_streams = True

os.environ["LAWFUL_PROGRESS"] = "0"  # nobody watches the kernels that run the cells
os.environ["LAWFUL_EVIDENCE"] = str(Path(__file__).parent / "evidence")  # cells run in a folder of their own

# A page that reads reference data is left out where they are missing, and so are the links to it.
DATA = Path(os.environ.setdefault("LAWFUL_DATA", str(Path(__file__).parents[2] / "shared" / "data")))
if not DATA.is_dir():
    exclude_patterns.append("ecls_k.ipynb")
    suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# What scikit-learn adds to each of its estimators is described there.
ROUTING = ("fit", "predict", "predict_proba", "score")
autodoc_default_options = {"members": True, "exclude-members": ", ".join(f"set_{name}_request" for name in ROUTING)}
default_role = "code"  # `name` in a docstring
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Links into other projects need their inventories, so a build without network goes without them.
intersphinx_mapping = (
    {
        "python": ("https://docs.python.org/3", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "numpyro": ("https://num.pyro.ai/en/stable", None),
        "arviz": ("https://python.arviz.org/en/stable", None),
    }
    if os.environ.get("DOCS_ONLINE")
    else {}
)

html_theme = "pydata_sphinx_theme"
html_title = f"lawful {version}"
html_theme_options = {"show_prev_next": True, "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False


def name_the_tests_of_faults(app, page, text):
    """The tests of each row are marked with its number; Sphinx gives the text of a page in a list."""
    if page == "faults":
        text[0] = with_tests(text[0])


def setup(app):
    """Change what is read."""
    app.connect("source-read", name_the_tests_of_faults)
