"""Methods of forms: what a form can be asked for, bound to it when the package is imported.

Law: a form itself is data, and imports nothing that runs, writes, draws, scores or checks it; what does is loaded when
it is first asked for.
"""

from __future__ import annotations

from ..form import Form
from ..late import Method

TEXT = "lawful.inspection.drawing.graph_text"
METHODS = {
    "__call__": Method("lawful.language.run_form", "run_form"),
    "show": Method("lawful.inspection.drawing.text", "show_form"),
    "to_dot": Method(TEXT, "to_dot"),
    "to_mermaid": Method(TEXT, "to_mermaid"),
    "to_svg": Method("lawful.inspection.drawing.svg", "to_svg"),
    "to_networkx": Method(TEXT, "to_networkx"),
    "to_factor_graph": Method(TEXT, "to_factor_graph"),
    "log_density": Method("lawful.backends.log_density", "log_density"),
    "check": Method("lawful.inspection.lint.check", "check"),
}


def bind_methods() -> None:
    """Bind them."""
    for name, method in METHODS.items():
        setattr(Form, name, method)
