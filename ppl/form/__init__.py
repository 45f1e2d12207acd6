"""Form: the intermediate form of a traced program, as data; its nodes can be imported from here.

What a form tells of itself (`dependence`, `liveness`, `choices`), how it is walked (`fold`) and written (`builder`),
the operations that it may hold, and the arguments that a program takes.
May import: no other folder.
"""

from .nodes import (
    CHECK,
    Branch,
    Det,
    Factor,
    Form,
    Loop,
    Node,
    Plate,
    Site,
    Var,
    constant_arrays,
    subforms,
    walk,
    within,
)

__all__ = [
    "Branch",
    "CHECK",
    "Det",
    "Factor",
    "Form",
    "Loop",
    "Node",
    "Plate",
    "Site",
    "Var",
    "constant_arrays",
    "subforms",
    "walk",
    "within",
]
