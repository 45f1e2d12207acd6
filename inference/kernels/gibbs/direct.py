"""Direct: probabilities that children read as they are, which makes their conditional a beta or a Dirichlet law.

Law: where every term that a site reaches is its own prior or a law of counts with the site's own numbers as
probabilities, the log density is a combination of the logarithms of these numbers.
"""

from __future__ import annotations

from typing import Any

from lawful.distributions.families import core_of
from lawful.distributions.law import position_of
from lawful.form import Det, Form, Site, Var
from lawful.form.builder import Tupled
from lawful.form.choices import Choice
from lawful.form.markov_blanket import Blanket
from lawful.form.operations.equation import Equation
from lawful.form.operations.from_jaxpr import inlined

# The prior, and the laws of its children; of these, those that look at one probability at a time.
CHILDREN = {
    "Beta": ("beta", ("Bernoulli", "Binomial", "Geometric")),
    "Dirichlet": ("Dirichlet", ("Categorical", "Multinomial")),
}


def probability_of(program: Form, choice: Choice, reach: Blanket) -> str | None:
    """Find whether the conditional of a site is a beta or a Dirichlet law; None where that is not seen."""
    law = choice.law
    if law.numbered is None or law.label not in CHILDREN or choice.loops:
        return None
    family, children = CHILDREN[law.label]
    form = inlined(program)
    own: set[Var] = {s.out for s in form.nodes if isinstance(s, Site) and s.address == choice.address}
    for node in form.nodes:
        if isinstance(node, Site):
            reads = [v in own for v in node.parameters]
            if any(reads) and not (_by_probabilities(node, reads, children) and node.observed not in own):
                return None
        elif any(v in own for v in node.ins):
            if not (isinstance(node, Det) and _keeps(node, law.label)):
                return None
            own.update(node.outs)
    outer = {s.address for s in form.nodes if isinstance(s, Site)}
    return family if reach.terms <= outer else None


def _by_probabilities(site: Site, reads: list[bool], children: tuple[str, ...]) -> bool:
    """Tell whether a site reads the values as its probabilities, and as nothing else."""
    law: Any = site.law
    if law.numbered is None or law.label not in children:
        return False
    core = type(core_of(law.numbered)).__name__
    place = position_of(law, "probs")
    return not core.endswith("Logits") and place is not None and reads == [i == place for i in range(len(reads))]


def _keeps(node: Det, prior: str) -> bool:
    """Tell whether an operation only puts values elsewhere; rows of probabilities stay whole."""
    function: Any = node.function.function if isinstance(node.function, Tupled) else node.function
    if not isinstance(function, Equation) or len(node.ins) != 1:
        return False
    if not function.row.moves or prior == "Beta":
        return function.row.moves
    before, after = node.ins[0].shape, node.outs[0].shape
    last = len(after) - 1
    return after[-1:] == before[-1:] and function.axes_read([before], after, last) == (len(before) - 1,)
