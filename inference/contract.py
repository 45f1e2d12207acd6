"""Contract: the law that a transformer, kernel, resampler or estimator claims; and transformers, which compose.

Law: an approximate method has the kind "bound"; nothing of that kind can pass as exact. Valid transformers compose, so
a composition keeps the measure when each part does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lawful.errors import LawfulError
from lawful.form import Form
from lawful.tracing.trace import Rewritten

from .registered import stored_as

KINDS = {
    "preserves_measure": "m(t(a)) = m(a), as unnormalised measures",
    "properly_weighted": "E[sum_i w_i f(x_i)] is the integral of f, for every f",
    "invariant_kernel": "pi K = pi",
    "conditional_kernel": "a kernel on reference paths that keeps the smoothing law",
    "involution": "phi(phi(z)) = z, with the declared Jacobian",
    "score_difference": "weight = log p(new) - log p(old)",
    "bound": "a bound, never an equality",
}
KERNELS = ("invariant_kernel", "conditional_kernel", "involution")


@stored_as("check.Contract")
@dataclass(frozen=True)
class Contract:
    """What its bearer claims.

    Attributes:
        kind: one of the seven kinds in `KINDS`.
        target: the measure that a kernel keeps, or what a bound bounds; None where the argument fixes it.
        reversible: for kernels, whether pi(dx) K(x, dy) is symmetric; None where nothing is claimed.
        parametric: distributions are touched only through "draw" and "log density", so that finite instances speak for
            continuous ones.
        remarks: what a reader needs besides.

    >>> Contract("invariant_kernel", target="posterior", reversible=True).law
    'pi K = pi'
    >>> Contract("bound", target="log Z").exact
    False
    """

    kind: str
    target: Any = None
    reversible: bool | None = None
    parametric: bool = False
    remarks: str = ""

    def __post_init__(self) -> None:
        """Refuse an unknown kind, and claims that the kind cannot make."""
        if self.kind not in KINDS:
            raise LawfulError(
                f"Contract: unknown kind {self.kind!r}; expected one of {', '.join(KINDS)}. "
                "Fix: an approximate method takes kind='bound'.",
                kind=self.kind,
            )
        if self.reversible is not None and self.kind not in KERNELS:
            raise LawfulError(
                f"Contract: only kernels can be reversible ({', '.join(KERNELS)}), not {self.kind!r}. "
                "Fix: leave reversible=None.",
                kind=self.kind,
                reversible=self.reversible,
            )

    @property
    def law(self) -> str:
        """The claim in words."""
        return KINDS[self.kind]

    @property
    def exact(self) -> bool:
        """Whether the claim is an equality, which an exact check can refute."""
        return self.kind != "bound"


PRESERVES = Contract("preserves_measure", parametric=True)


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
        return InTurn(self.parts)(value)

    def __rshift__(self, other: Transformer) -> Transformer:
        """Do this, then the other; the weaker contract is the contract of both."""
        weaker = self.contract if self.contract.kind == "bound" else other.contract
        both = InTurn((*self.parts, *other.parts))
        return Transformer(f"{self.name} >> {other.name}", both, weaker, programs=True)

    @property
    def parts(self) -> tuple[Transformer, ...]:
        """What is done one after the other; of what is no composition, itself."""
        return self.apply.parts if isinstance(self.apply, InTurn) else (self,)

    def __repr__(self) -> str:
        """Show the name."""
        return self.name


@dataclass(frozen=True)
class InTurn:
    """Transformers, one after the other; one that takes no functions makes of a function another program."""

    parts: tuple[Transformer, ...]

    def __call__(self, value: Any) -> Any:
        """Apply them."""
        for part in self.parts:
            rewrites = callable(value) and not isinstance(value, Form) and not part.programs
            value = Rewritten(value, part) if rewrites else part.apply(value)
        return value
