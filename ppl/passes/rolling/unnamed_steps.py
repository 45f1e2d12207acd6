"""Unnamed steps: a form whose Python loops are loops, for what need not know each step by its own name.

Law: the folded form has the choices, the data and the measure of the form: a site of a loop stands for the sites of
all its steps, whose values are the rows of its stack. The form's outputs are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...addresses import Address
from ...form import Form, Loop
from ...form.cached import per_form
from .roll import rolled_here


@dataclass(frozen=True, eq=False)
class Folded:
    """A form with loops; `steps` gives the addresses of the steps of each site that stands for many."""

    form: Form
    steps: dict[Address, tuple[Address, ...]]

    def names(self, address: Address) -> tuple[Address, ...]:
        """List the addresses of the form that a site of the folded one stands for."""
        return self.steps.get(address, (address,))


@per_form
def folded(form: Form) -> Folded:
    """Fold a form, once.

    >>> import numpyro.distributions as dist, lawful
    >>> def chain():
    ...     x = 0.0
    ...     for i in range(100):
    ...         x = lawful.sample(f"x_{i}", dist.Normal(x, 1.0))
    >>> found = folded(lawful.trace(chain))
    >>> [site.address for site in found.form.sites()], found.names(("x_0",))[-1]
    ([('x_0',)], ('x_99',))
    """
    small = rolled_here(replace(form, outputs=()))
    steps: dict[Address, tuple[Address, ...]] = {}
    nodes = []
    for node in small.nodes:
        if isinstance(node, Loop) and node.addresses is not None:
            steps |= dict(node.addresses)
            node = replace(node, addresses=None)
        nodes.append(node)
    return Folded(replace(small, nodes=tuple(nodes)), steps)
