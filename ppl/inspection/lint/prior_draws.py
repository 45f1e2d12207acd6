"""Prior draws: a program is run at a few of them, where every parameter must be valid and every score finite.

Law: a site without a finding had valid parameters, and a score and a gradient that are numbers at each of the draws;
nothing is said of values that the prior gave none of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import Address, show_address
from ...backends.compile_options import QUICK
from ...backends.pointwise import ask_at_prior
from ...distributions.parameter_constraints import limits, parameters_of
from ...distributions.protocol import Law
from ...errors import ImproperPriorError
from ...form import Factor, Form, Site, walk
from ...form.dependence import Dependence, dependence
from ...messages import Source
from ...passes.checked_draws import constraints_of
from ...passes.probe import Probe
from .form_rules import LintFinding
from .gradients import slope_findings
from .precision import LOGITS, NEAR_ONE, hazard, in_32_bits, readers, sites_with_steps

DRAWS = 32
TOGETHER = 100_000  # elements of a draw of which all are held at once


def rehearse(form: Form, inputs: Sequence[Any], draws: int = DRAWS) -> tuple[LintFinding, ...]:
    """Return the findings of some prior draws: invalid-parameter, nonfinite-start, nan-data, and float32-hazard.

    Gradients are looked at where all else is well.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     lawful.sample("y", dist.Normal(0.0, lawful.sample("sd", dist.Normal(0.0, 1.0))), obs=1.0)
    >>> [(finding.code, finding.site) for finding in rehearse(lawful.trace(model), [])]
    [('invalid-parameter', ('y',))]
    """
    try:
        asked, function = ask_at_prior(form, _question)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(draws))
        run = jax.jit(_over_draws(form, function), compiler_options=QUICK)

        def looked(given: Sequence[Any]) -> tuple[LintFinding, ...]:
            with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones, as of a loop
                answers = run(keys, list(given))
            rows = {
                (part.kind, part.address): np.asarray(answer).reshape(draws, -1)
                for part, answer in zip(asked, answers, strict=True)
            }
            return tuple(_findings(form, rows, graph))

        graph = dependence(form)
        found = looked(inputs)
    except ImproperPriorError:
        return ()  # no draws to look at; an algorithm that needs them says so itself
    if any(finding.level == "error" for finding in found):
        return tuple(_of_gaps(form, inputs, found, looked))
    with jax.debug_key_reuse(False):
        return (*found, *slope_findings(form, inputs, keys, graph))


def _of_gaps(
    form: Form, inputs: Sequence[Any], found: Sequence[LintFinding], looked: Callable[..., Sequence[LintFinding]]
) -> Iterator[LintFinding]:
    """Tell what comes of NaN in the inputs, which the prior cannot mend: it is not found where the gaps are filled."""
    arrays = {k: np.asarray(x) for k, x in enumerate(inputs) if jnp.issubdtype(jnp.result_type(x), jnp.floating)}
    gaps = {k: np.argwhere(np.isnan(x)) for k, x in arrays.items() if np.isnan(x).any()}
    if not gaps:
        yield from found
        return
    middle = {k: np.nanmean(arrays[k]) if np.isfinite(arrays[k]).any() else 0.0 for k in gaps}
    full = [np.where(np.isnan(arrays[k]), middle[k], arrays[k]) if k in gaps else x for k, x in enumerate(inputs)]
    stays, reading = {(finding.code, finding.site) for finding in looked(full)}, readers(form)[1]
    for finding in found:
        number = next((k for k in gaps if finding.site in reading[k]), None)
        if finding.level != "error" or number is None or (finding.code, finding.site) in stays:
            yield finding
            continue
        place = tuple(map(int, gaps[number][0]))
        yield LintFinding(
            "nan-data", "error", finding.site, finding.source,
            f"it reads an argument that holds NaN, first at index {place}: {finding.found}",
            "missing covariates are no data of a site: model them as a site with obs_mask, or drop these rows.",
        )  # fmt: skip


def _over_draws(form: Form, function: Callable[..., Any]) -> Callable[..., Any]:
    """Map a function over the draws: together where that is small, else one after the other."""
    if sum(steps * math.prod(site.out.full_shape) for site, steps in sites_with_steps(form)) <= TOGETHER:
        return jax.vmap(function, (0, None))
    return lambda keys, inputs: jax.lax.map(lambda key: function(key, inputs), keys)


def _question(node: Site | Factor) -> Iterable[Probe]:
    if isinstance(node, Factor):
        yield Probe("score", jnp.asarray, (node.term,))
        return
    value = node.out if node.observed is None else node.observed
    yield Probe("score", node.law.log_prob, (value, *node.parameters))
    law, own, known = node.law.innermost, node.law.own(node.parameters), node.law.known
    if not node.law.lanes and (known.masked or not known.arrays):
        if constraints_of(law):
            yield Probe("invalid", _Invalid(law, known.masked), (*node.parameters[: known.arrays], *own))
        if in_32_bits() and _of_chance(law.numbered):
            yield Probe("chance", _Largest(law), own)
    if node.observed is None and node.out.shape == ():
        yield Probe("value", jnp.asarray, (node.out,))


def _findings(form: Form, rows: dict[tuple[str, Address], np.ndarray], graph: Dependence) -> Iterator[LintFinding]:
    nodes = {node.address: node for node in walk(form) if isinstance(node, Site | Factor)}
    for address, node in nodes.items():
        parents = [show_address(tail) for tail, head in graph.edges if head == address]
        reads = f" It reads {', '.join(parents)}." if parents else ""
        invalid = rows.get(("invalid", address))
        if invalid is not None and invalid.any():
            assert isinstance(node, Site)
            yield _invalid(node, invalid, reads)
        else:
            yield from _scores(address, node.source, rows["score", address], rows.get(("value", address)), reads)
        if ("chance", address) in rows:
            yield from _near_one(address, node.source, rows["chance", address], reads)


def _invalid(node: Site, invalid: np.ndarray, reads: str) -> LintFinding:
    names, law = constraints_of(node.law), node.law.innermost
    by_name = invalid.reshape(len(invalid), -1, len(names)).any(axis=1)  # over the steps of loops
    place = int(by_name.any(axis=0).argmax())
    name, constraint = names[place]
    return LintFinding(
        "invalid-parameter", "error", node.address, node.source,
        f"the parameter '{name}' of {law.label} is not {limits(constraint)} at {int(by_name[:, place].sum())} of "
        f"{len(invalid)} draws from the prior.{reads}",
        "choose a prior or a function whose values lie inside, as an exponential for a scale.",
    )  # fmt: skip


def _scores(
    address: Address, source: Source, scores: np.ndarray, values: np.ndarray | None, reads: str
) -> Iterator[LintFinding]:
    draws = len(scores)
    for bad, word in ((np.isnan(scores), "NaN"), (np.isposinf(scores), "+inf"), (np.isneginf(scores), "-inf")):
        rows = bad.any(axis=1)
        if not rows.any() or (word == "-inf" and not rows.all()):
            continue
        shown = "" if values is None else f", as at the value {values[rows.argmax()].flat[0]:g}"
        yield LintFinding(
            "nonfinite-start", "error", address, source,
            f"its log density is {word} at {int(rows.sum())} of {draws} draws from the prior{shown}.{reads}",
            "check the arithmetic of its parameters, and the data against what the prior can give.",
        )  # fmt: skip
        return


def _near_one(address: Address, source: Source, largest: np.ndarray, reads: str) -> Iterator[LintFinding]:
    """Find probabilities that 32 bits hardly tell from one; one itself is meant where it is one always."""
    near = (largest > np.float32(1 - NEAR_ONE)) & (largest <= 1)
    if near.any() and not (largest == 1).all():
        often = f"{int(near.any(axis=1).sum())} of {len(largest)} draws from the prior"
        found = f"a probability is closer to 1 than {NEAR_ONE:g} at {often}.{reads}"
        yield hazard(address, source, found, LOGITS)


def _of_chance(distribution: Any) -> list[Any]:
    """List the parameters of a distribution, if any, that are probabilities."""
    if distribution is None:
        return []
    return [value for _, constraint, value in parameters_of(distribution) if constraint is constraints.unit_interval]


@dataclass(frozen=True)
class _Largest:
    """The largest probability among the parameters of a law."""

    law: Law

    def __call__(self, *parameters: Any) -> Any:
        chances = _of_chance(self.law.bound(parameters))
        return jnp.max(jnp.stack([jnp.max(jnp.asarray(p, float), initial=0.0) for p in chances]))


@dataclass(frozen=True)
class _Invalid:
    """Which parameters of a law lie outside their constraint, where a mask that comes first does not drop them."""

    law: Law
    masked: bool

    def __call__(self, *parameters: Any) -> Any:
        mask, parameters = (parameters[0], parameters[1:]) if self.masked else (True, parameters)
        distribution = self.law.bound(parameters)
        wrong = [~jnp.asarray(constraint(value)) for _, constraint, value in parameters_of(distribution)]
        units = self.law.units
        asked = [jnp.broadcast_to(mask, units) if w.shape == units else jnp.any(jnp.asarray(mask)) for w in wrong]
        return jnp.stack([jnp.any(w & a) for w, a in zip(wrong, asked, strict=True)])
