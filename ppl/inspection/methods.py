"""Methods of forms: what a form can be asked for, bound to it when the package is imported.

Law: a form itself is data, and imports nothing that runs, writes, draws, scores or checks it.
"""

from __future__ import annotations

from typing import Any

from ..backends.log_density import log_density
from ..form import Form
from ..language.run_form import run_form
from .drawing import graph_text
from .drawing.svg import to_svg
from .drawing.text import show_form
from .lint.check import check_program
from .lint.form_rules import check_form


def to_dot(form: Form, *, factors: bool = False) -> str:
    """Write the graph of sites and factors in the DOT language; with `factors`, the factor graph."""
    return graph_text.factor_graph_to_dot(form) if factors else graph_text.to_dot(form)


def check(form: Form, *args: Any) -> tuple[Any, ...]:
    """Return the findings of the linter.

    Args:
        form: the form.
        args: the arguments that the form was traced on, data among them; without them only what the form itself
            shows is found, unless it takes none.
    """
    return check_program(form, *args) if args or not form.inputs else check_form(form)


METHODS = {
    "__call__": run_form,
    "show": show_form,
    "to_dot": to_dot,
    "to_mermaid": graph_text.to_mermaid,
    "to_svg": to_svg,
    "to_networkx": graph_text.to_networkx,
    "to_factor_graph": graph_text.to_factor_graph,
    "log_density": log_density,
    "check": check,
}


def bind_methods() -> None:
    """Bind them."""
    for name, function in METHODS.items():
        setattr(Form, name, function)
