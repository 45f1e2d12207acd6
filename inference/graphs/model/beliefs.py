"""Beliefs: what inference on a factor graph returns, exact or not, with its verdict and its certificate.

Law: every answer carries both. A verdict says what happened; a certificate says what is guaranteed, and is given only
where it was proved. Beliefs of a variable sum to one, and where the certificate is "exact" they are its marginals. A
graph without any possible assignment has log_z -inf, beliefs zero, and the verdict "infeasible".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError

from ...findings.findings import Finding, Status, status_of
from ...laws.log_sum import safe_log
from .structure import Structure

SMALL = 1 << 16  # entries of all beliefs that leave a program as one array; more are worth an array each

type Verdict = Literal["exact", "converged", "oscillating", "slow", "infeasible", "nonfinite"]
type Certificate = Literal["exact", "unique-fixed-point", "upper-bound", "lower-bound", "none"]
type Kind = Literal["exact", "bethe", "trw", "fractional", "max"]

# In this order, so that an array of numbers can hold verdicts of many graphs.
VERDICTS: tuple[Verdict, ...] = ("exact", "converged", "oscillating", "slow", "infeasible", "nonfinite")
GOOD = ("exact", "converged")


def number_of(verdict: Verdict) -> int:
    """Number of a verdict.

    >>> number_of("converged")
    1
    """
    return VERDICTS.index(verdict)


def verdict_of(log_z: Any) -> Any:
    """Number of the verdict of an exact answer with this log of the mass.

    >>> int(verdict_of(np.float64(-np.inf))) == number_of("infeasible")
    True
    """
    xp = jnp if isinstance(log_z, jax.Array) else np
    broken = xp.where(log_z == -np.inf, number_of("infeasible"), number_of("nonfinite"))
    return xp.where(xp.isfinite(log_z), number_of("exact"), broken)


@dataclass(frozen=True)
class Beliefs:
    """The answer of an inference on a factor graph; a pytree, so that it passes `jax.jit` and `jax.vmap`.

    Attributes:
        structure: of the graph.
        variables: for each family, probabilities `(*shape, K)`; None for counts where they were not wanted.
        factors: for each group, probabilities (G, K_1, ..., K_r); None where they were too many to make.
        log_z: natural log of the total mass, or what stands for it: see `log_z_kind`.
        verdict_number: number of the verdict.
        messages: what a warm start needs; None for exact methods.
        info: numbers on the run, such as iterations and the residual.
        log_z_kind: "exact", "bethe", "trw" or "fractional".
        certificate: what is guaranteed.
        method: how it was found.
    """

    structure: Structure
    variables: tuple[Any, ...]
    factors: tuple[Any, ...]
    log_z: Any
    verdict_number: Any
    messages: Any = None
    info: Mapping[str, Any] = field(default_factory=dict)
    log_z_kind: Kind = "exact"
    certificate: Certificate = "exact"
    method: str = "elimination"

    @property
    def verdict(self) -> Any:
        """How the run ended; an array of names where several graphs were run at once."""
        numbers = np.asarray(self.verdict_number)
        return VERDICTS[int(numbers)] if numbers.ndim == 0 else np.array(VERDICTS)[numbers]

    def values_of(self, name: str) -> Any:
        """List the values of a variable, in the order of its probabilities; None where they are numbers from zero."""
        family = self.structure.family(name)
        return None if family is None else family.states

    @property
    def converged(self) -> bool:
        """Whether the answer is exact or a fixed point, in all graphs."""
        return bool(np.isin(np.atleast_1d(self.verdict), GOOD).all())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before the answer is used: why a run of messages did not end at a fixed point."""
        if self.converged:
            return ()
        if np.ndim(self.verdict_number):
            bad = [str(v) for v in np.ravel(self.verdict) if v not in GOOD]
            return (f"{len(bad)} of {np.size(self.verdict)} runs have no answer: {', '.join(sorted(set(bad)))}",)
        if "residual" not in self.info:
            return (f"verdict {self.verdict}",)
        return (
            f"verdict {self.verdict} after {int(self.info['iterations'])} sweeps: a message would still change by "
            f"{float(self.info['residual']):.3g} in a state, with damping {float(self.info['damping']):.3g} so far",
        )

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """The same as findings: `NOT_CONVERGED` with the residual as value, `DEAD`, or `NONFINITE_WEIGHT`.

        Several graphs that were run at once have a finding for each that has no answer.
        """
        found = []
        for place, verdict in enumerate(np.atleast_1d(self.verdict).ravel().tolist()):
            if verdict in GOOD:
                continue
            info = {name: np.ravel(self.info[name])[place] for name in ("iterations", "residual") if name in self.info}
            where = f"graph {place}: " if np.ndim(self.verdict_number) else ""
            found.append(_finding(verdict, where, info, self._impossible(place)))
        return tuple(found)

    @property
    def status(self) -> Status:
        """Status bits of the findings; 0 is ok."""
        return status_of(self.reasons)

    @property
    def ok(self) -> bool:
        """Whether there is no finding: the same as `converged`."""
        return not self.reasons

    def _impossible(self, place: int) -> tuple[str, ...]:
        """Name the bags that have no possible count."""
        bags: list[str] = []
        for count in self.structure.counted:
            marks = self.info.get("impossible", {}).get(count.name)
            if marks is not None:
                rows = np.asarray(marks).reshape((-1, count.size))
                bags += [f"{count.name}[{bag}]" for bag in np.flatnonzero(rows[place])]
        return tuple(bags)

    @property
    def beliefs(self) -> dict[str, Any]:
        """Probabilities by the name of the variables `(*shape, K)`."""
        each = zip(self.structure.families, self.variables, strict=True)
        return {family.name: own for family, own in each if own is not None}

    @property
    def log_beliefs(self) -> dict[str, Any]:
        """Natural logs of the same; -inf for what cannot be."""
        return {name: _log(b) for name, b in self.beliefs.items()}

    def factor_beliefs(self, name: str) -> Any:
        """Probabilities of the joint states of a group's factors (G, K_1, ..., K_r); of counts those of their values.

        Raises: LawfulError for a name that is not known, and for pairs in long chains that have too many entries.
        """
        for group, found in zip(self.structure.groups, self.factors, strict=True):
            if group.name == name and found is None:
                raise LawfulError(
                    f"factor_beliefs: {name!r} has {group.size} factors with tables {group.cardinalities}: their "
                    "beliefs were left out (factors=False, or long chains), since they would take more memory than all "
                    "else. Fix: the gradient of log_z by a table that all share is their sum.",
                    site=name,
                )
            if group.name == name:
                return found
        if any(count.name == name for count in self.structure.counted):
            if name in self.beliefs:
                return self.beliefs[name]
            raise LawfulError(f"factor_beliefs: the count {name!r} was left out. Fix: factors=True.", site=name)
        known = ", ".join(group.name for group in self.structure.groups)
        raise LawfulError(f"no factors are called {name!r}. Known are: {known or 'none'}.", site=name)

    # The names under which `inference.bp` shows the same on a model.
    @property
    def marginals(self) -> dict[str, Any]:
        """The beliefs of all variables that have a name of the model's."""
        return {name: b for name, b in self.beliefs.items() if not name.startswith("~")}

    @property
    def log_evidence(self) -> Any:
        """The log of the total mass."""
        return self.log_z

    def told(self) -> dict[str, str]:
        """Say how it ended and what it is worth, by name."""
        return {
            "solver": self.method, "verdict": str(self.verdict), "certificate": self.certificate,
            "evidence": self.log_z_kind,
        }  # fmt: skip

    def __repr__(self) -> str:
        """Say how it ended and what it is worth."""
        shown = f"{float(self.log_z):.6g}" if np.ndim(self.log_z) == 0 else f"{len(self.log_z)} values"
        return (
            f"Beliefs({self.structure.size} variables, log_z {shown} ({self.log_z_kind}), verdict {self.verdict}, "
            f"certificate {self.certificate}, by {self.method})"
        )


jax.tree_util.register_dataclass(
    Beliefs,
    data_fields=["variables", "factors", "log_z", "verdict_number", "messages", "info"],
    meta_fields=["structure", "log_z_kind", "certificate", "method"],
)


def _finding(verdict: str, where: str, info: Mapping[str, Any], bags: tuple[str, ...]) -> Finding:
    """Say why there is no answer, and what to do."""
    if verdict == "infeasible":
        named = f" ({', '.join(bags[:5])}{', ...' if bags[5:] else ''} has no possible count)" if bags else ""
        message = (
            f"{where}no assignment is possible{named}: log_z is -inf and there are no marginals; look for evidence and "
            "counts that contradict each other or factors of zero."
        )
        return Finding("DEAD", message, bags, -math.inf, None)
    if verdict == "nonfinite":
        message = f"{where}a message or the total is NaN or +inf: look for scores that are, and give finite ones."
        return Finding("NONFINITE_WEIGHT", message, (), None, None)
    residual = float(info.get("residual", math.nan))
    message = (
        f"{where}belief propagation did not converge ({verdict}) in {int(info.get('iterations', 0))} sweeps: a message "
        f"would still change by {residual:.3g}, so beliefs and log_z are those of no fixed point; raise max_iters= or "
        "damping=, use counting='trw', or an exact method."
    )
    return Finding("NOT_CONVERGED", message, (), residual, None)


def _log(probabilities: Any) -> Any:
    if isinstance(probabilities, np.ndarray):
        return np.log(probabilities, out=np.full_like(probabilities, -np.inf), where=probabilities > 0)
    return safe_log(probabilities)


@dataclass(frozen=True)
class Layout:
    """How the beliefs of a structure stand in a vector, in which nothing is computed.

    An array that a program returns costs microseconds whatever it holds, so a network of some dozens of variables would
    spend as long on handing its beliefs over as on finding them.

    Attributes:
        families: shapes of those of each family `(*shape, K)`.
        groups: shapes of those of each group (G, K_1, ..., K_r).
    """

    families: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @cached_property
    def places(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Where the beliefs of each family and each group begin and end, and their shape."""
        shapes = (*self.families, *self.groups)
        ends = [0, *accumulate(map(math.prod, shapes))]
        return [(*place, shape) for place, shape in zip(pairwise(ends), shapes, strict=True)]

    def parted(self, beliefs: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Give the beliefs of each family, and of each group."""
        found = [beliefs[start:end].reshape(shape) for start, end, shape in self.places]
        return tuple(found[: len(self.families)]), tuple(found[len(self.families) :])

    def leaving(self, found: tuple[Any, Any]) -> Any:
        """Put the log of the mass and the beliefs that leave a program into one vector, where they are few numbers."""
        log_total, beliefs = found
        if self.places and self.places[-1][1] > SMALL:
            return log_total, *self.parted(beliefs)
        xp = np if isinstance(beliefs, np.ndarray) else jnp
        return xp.concatenate([log_total.reshape(1), beliefs])

    def arrived(self, given: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """Give the log of the mass and the beliefs; where they are known, as views of a vector on the host."""
        if isinstance(given, tuple):
            return given
        whole = given if isinstance(given, jax.core.Tracer) else np.asarray(given)
        return whole[0], *self.parted(whole[1:])


def layout_of(structure: Structure) -> Layout:
    """Say how the beliefs of a structure stand in a vector.

    >>> from .structure import Family
    >>> layout_of(Structure((Family("z", (2,), 2, 0),), ())).parted(np.arange(4))
    ((array([[0, 1],
           [2, 3]]),), ())
    """
    return Layout(
        tuple((*f.shape, f.cardinality) for f in structure.families),
        tuple((len(g.scopes), *g.cardinalities) for g in structure.groups),
    )
