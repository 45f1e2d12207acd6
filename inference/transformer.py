"""Transformer: a map between representations with a declared law; `a >> b` does a, then b.

Law: valid transformers compose, so a composition keeps the measure when each part does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.inference.check.contracts import Contract


@dataclass(frozen=True)
class Transformer:
    """A named function on representations with its contract.

    >>> double = Transformer("double", lambda x: 2 * x, Contract("bound"))
    >>> (double >> double)(1), (double >> double).name
    (4, 'double >> double')
    """

    name: str
    apply: Callable[[Any], Any]
    contract: Contract

    def __call__(self, value: Any) -> Any:
        """Apply to a representation."""
        return self.apply(value)

    def __rshift__(self, other: Transformer) -> Transformer:
        """Do this, then the other; the weaker contract is the contract of both."""
        weaker = self.contract if self.contract.kind == "bound" else other.contract
        return Transformer(f"{self.name} >> {other.name}", lambda value: other(self(value)), weaker)

    def __repr__(self) -> str:
        """Show the name."""
        return self.name
