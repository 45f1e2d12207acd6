"""Transformer: a map between representations with a declared law; `a >> b` does a, then b.

Law: valid transformers compose, so a composition keeps the measure when each part does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.form import Form
from lawful.inference.check.contracts import Contract
from lawful.tracing.trace import Rewritten


@dataclass(frozen=True)
class Transformer:
    """A named function on representations with its contract.

    Attributes:
        name: what people read.
        apply: maps one representation to another, as a Form to a Form.
        contract: what it claims.
        programs: whether `apply` takes functions itself. Else a function becomes the program whose Form `apply` makes,
            once it is traced on its arguments: so every transformer of Forms is one of programs.

    >>> import numpyro.distributions as dist, lawful
    >>> double = Transformer("double", lambda x: 2 * x, Contract("bound"))
    >>> (double >> double)(1), (double >> double).name
    (4, 'double >> double')
    >>> from lawful import inference
    >>> noises = inference.noncentred()(lambda: lawful.sample("x", dist.Normal(1.0, 2.0)))
    >>> [site.address for site in lawful.trace(noises).sites()]
    [('x', '~normal')]
    """

    name: str
    apply: Callable[[Any], Any]
    contract: Contract
    programs: bool = False

    def __call__(self, value: Any) -> Any:
        """Apply to a representation, or to a program, a function, which becomes another program."""
        if callable(value) and not isinstance(value, Form) and not self.programs:
            return Rewritten(value, self)
        return self.apply(value)

    def __rshift__(self, other: Transformer) -> Transformer:
        """Do this, then the other; the weaker contract is the contract of both."""
        weaker = self.contract if self.contract.kind == "bound" else other.contract
        return Transformer(f"{self.name} >> {other.name}", lambda value: other(self(value)), weaker, programs=True)

    def __repr__(self) -> str:
        """Show the name."""
        return self.name
