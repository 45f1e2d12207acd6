"""Prior draws: a program is run at a few of them, where parameters must be valid, and scores and gradients finite.

Law: a site without a finding had valid parameters, and a score and a gradient that are numbers at each of the draws of
finite density, and an infinite gradient not at all of them. Nothing is said of values that the prior gave none of, nor
of gradients where a program has none, as with a loop without a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import Address, show_address
from ...backends.compile_options import UNFUSED
from ...backends.pointwise import ask_at_choices
from ...backends.xla import emit
from ...distributions.constraints import limits, parameters_of
from ...distributions.protocol import Law
from ...errors import UndrawableError, UnsupportedProgramError
from ...form import Factor, Form, Site, walk
from ...form.choices import choices_of
from ...form.dependence import dependence
from ...passes.checked_draws import constraints_of
from ...passes.probe import Probe
from ...passes.record import record
from .finding import LintFinding
from .precision import LOGITS, NEAR_ONE, hazard, in_32_bits, readers
from .unread_inputs import first_gaps

DRAWS = 32
GUARD = (
    "guard its arithmetic: sqrt and norms have no gradient at 0, and jnp.where keeps the gradient of the arm that it "
    "does not take, so give that arm a harmless operand."
)


def rehearse(form: Form, inputs: Sequence[Any], draws: int = DRAWS) -> tuple[LintFinding, ...]:
    """Return the findings of some prior draws: invalid-parameter, nonfinite-start, nan-data, and float32-hazard.

    Gradients are looked at where all else is well.

    >>> import numpyro.distributions as dist, lawful
    >>> def model():
    ...     lawful.sample("y", dist.Normal(0.0, lawful.sample("sd", dist.Normal(0.0, 1.0))), obs=1.0)
    >>> [(finding.code, finding.site) for finding in rehearse(lawful.trace(model), [])]
    [('invalid-parameter', ('y',))]
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(draws))
    try:
        with jax.debug_key_reuse(False):  # it takes keys that vmap has moved for used ones, as of a loop
            look = _Look(form, list(inputs), keys)
            found = tuple(look.findings(inputs))
            if any(finding.level == "error" for finding in found):
                return tuple(_of_gaps(form, inputs, found, look.findings))
            return (*found, *look.slope_findings())
    except UndrawableError:
        return ()  # no draws to look at; an algorithm that needs them says so itself


def _of_gaps(
    form: Form, inputs: Sequence[Any], found: Sequence[LintFinding], looked: Callable[..., Iterable[LintFinding]]
) -> Iterator[LintFinding]:
    """Tell what comes of NaN in the inputs, which the prior cannot mend: it is not found where the gaps are filled."""
    gaps = first_gaps(inputs)
    middle = {k: np.nanmean(inputs[k]) if np.isfinite(inputs[k]).any() else 0.0 for k in gaps}
    full = [np.where(np.isnan(x), middle[k], x) if k in gaps else x for k, x in enumerate(inputs)]
    stays = {(finding.code, finding.site) for finding in looked(full)} if gaps else set()
    reading = readers(form)[1] if gaps else []
    for finding in found:
        number = next((k for k in gaps if finding.site in reading[k]), None)
        if finding.level != "error" or number is None or (finding.code, finding.site) in stays:
            yield finding
            continue
        yield LintFinding(
            "nan-data", "error", finding.site, finding.source,
            f"it reads an argument that holds NaN, first at index {gaps[number]}: {finding.found}",
            "missing covariates are no data of a site: model them as a site with obs_mask, or drop these rows.",
        )  # fmt: skip


class _Look:
    """The draws of a form, with what is asked at each of them and, where there are any, the slopes of its score."""

    def __init__(self, form: Form, inputs: list[Any], keys: jax.Array) -> None:
        self.choices, self.graph, self.inputs = choices_of(form), dependence(form), inputs
        self.nodes = {node.address: node for node in walk(form) if isinstance(node, Site | Factor)}
        self.asked, self.ask = ask_at_choices(form, _question)
        recorded = record(form, ("sample",))
        draw = emit(recorded.form)
        floats = [jnp.issubdtype(c.dtype, jnp.floating) and 0 not in c.full_shape for c in self.choices]
        self.moved = [k for k, moves in enumerate(floats) if moves]

        def judge(key: jax.Array, inputs: Sequence[Any]) -> Any:
            values = recorded.split(draw(key, *inputs)[0]).values
            free = [values[k] for k in self.moved]

            def total(free: Sequence[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
                moving = iter(free)
                answers = self.ask(inputs, [next(moving) if k in self.moved else v for k, v in enumerate(values)])
                return jnp.sum(jnp.stack([jnp.sum(answers[k]) for k in self.terms])), answers

            slopes, answers = jax.grad(total, has_aux=True)(free) if free else ([], total(free)[1])
            return answers, slopes, values

        try:
            jax.eval_shape(judge, keys[0], inputs)
        except (UnsupportedProgramError, NotImplementedError, TypeError, ValueError):
            self.moved = []  # it has no gradient at all, and an inference that needs one says so
        # One draw after the other, so that a branch runs one arm alone.
        run = jax.jit(lambda keys, given: jax.lax.map(lambda key: judge(key, given), keys), compiler_options=UNFUSED)
        self.run = lambda given: jax.tree.map(np.asarray, run(keys, list(given)))

    @property
    def terms(self) -> list[int]:
        """Which answers are terms of the log density."""
        return [k for k, part in enumerate(self.asked) if part.kind == "score"]

    def reads(self, address: Address) -> str:
        parents = [show_address(tail) for tail, head in self.graph.edges if head == address]
        return f" It reads {', '.join(parents)}." if parents else ""

    def findings(self, inputs: Sequence[Any]) -> Iterator[LintFinding]:
        """Look at parameters, scores and probabilities."""
        answers, self.slopes, self.values = self.run(inputs)
        self.rows = {
            (part.kind, part.address): answer.reshape(len(answer), -1)
            for part, answer in zip(self.asked, answers, strict=True)
        }
        for address, node in self.nodes.items():
            invalid = self.rows.get(("invalid", address))
            if invalid is not None and invalid.any():
                yield _invalid(node, invalid, self.reads(address))
            else:
                yield from self.scores(node)
            if ("chance", address) in self.rows:
                yield from _near_one(node, self.rows["chance", address], self.reads(address))

    def scores(self, node: Any) -> Iterator[LintFinding]:
        scores = self.rows["score", node.address]
        for bad, word in ((np.isnan(scores), "NaN"), (np.isposinf(scores), "+inf"), (np.isneginf(scores), "-inf")):
            rows = bad.any(axis=1)
            if not rows.any() or (word == "-inf" and not rows.all()):
                continue
            value = next((v[rows.argmax()] for c, v in zip(self.choices, self.values, strict=True)
                          if (c.address, c.shape) == (node.address, ())), None)  # fmt: skip
            shown = "" if value is None else f", as at the value {value.flat[0]:g}"
            yield LintFinding(
                "nonfinite-start", "error", node.address, node.source,
                f"its log density is {word} at {int(rows.sum())} of {len(rows)} draws from the prior{shown}."
                f"{self.reads(node.address)}",
                "check the arithmetic of its parameters, and the data against what the prior can give.",
            )  # fmt: skip
            return

    def slope_findings(self) -> Iterator[LintFinding]:
        """Tell of the first choice with respect to which the gradient is no number."""
        finite = np.all([np.isfinite(row).all(axis=1) for (kind, _), row in self.rows.items() if kind == "score"], 0)
        for k, slope in zip(self.moved, self.slopes, strict=True):
            flat = slope.reshape(len(slope), -1)
            nan, infinite = (finite & test(flat).any(axis=1) for test in (np.isnan, np.isinf))
            broken, word = (nan, "NaN") if nan.any() else (infinite, "infinite")
            if nan.any() or (infinite.any() and infinite.all()):
                yield self.slope_finding(k, word, broken)
                return

    def slope_finding(self, place: int, word: str, broken: np.ndarray) -> LintFinding:
        """Find the first term whose gradient with respect to a choice is no number."""
        at = [value[broken.argmax()] for value in self.values]
        choice = self.choices[place]

        def is_broken(k: int) -> bool:  # one by one: a NaN times the zero that others get would be a NaN of theirs
            def term(value: jax.Array) -> jax.Array:
                return jnp.sum(self.ask(self.inputs, [*at[:place], value, *at[place + 1 :]])[k])

            return not bool(jnp.isfinite(jax.grad(term)(jnp.asarray(at[place]))).all())

        term = next((self.asked[k].address for k in self.terms if is_broken(k)), choice.address)
        shown = f" = {float(at[place]):g}" if np.ndim(at[place]) == 0 else ""
        return LintFinding(
            "nonfinite-start", "error", term, self.nodes[term].source,
            f"the gradient of its log density with respect to '{choice.name}' is {word} at {int(broken.sum())} of "
            f"{len(broken)} draws from the prior, as at {choice.name}{shown}, where the density is finite."
            f"{self.reads(term)}", GUARD,
        )  # fmt: skip


def _question(node: Site | Factor) -> Iterable[Probe]:
    if isinstance(node, Factor):
        yield Probe("score", jnp.asarray, (node.term,))
        return
    value = node.out if node.observed is None else node.observed
    yield Probe("score", node.law.log_prob, (value, *node.parameters))
    law, own, masked = node.law.innermost, node.law.own(node.parameters), node.law.masked
    if not node.law.lanes and (masked or not node.law.known_arrays):
        if constraints_of(law):
            yield Probe("invalid", _Invalid(law, masked), (*node.parameters[: node.law.known_arrays], *own))
        if in_32_bits() and _of_chance(law.numbered):
            yield Probe("chance", _Largest(law), own)


def _invalid(node: Any, invalid: np.ndarray, reads: str) -> LintFinding:
    names = constraints_of(node.law)
    by_name = invalid.reshape(len(invalid), -1, len(names)).any(axis=1)  # over the steps of loops
    place = int(by_name.any(axis=0).argmax())
    name, constraint = names[place]
    return LintFinding(
        "invalid-parameter", "error", node.address, node.source,
        f"the parameter '{name}' of {node.law.innermost.label} is not {limits(constraint)} at "
        f"{int(by_name[:, place].sum())} of {len(invalid)} draws from the prior.{reads}",
        "choose a prior or a function whose values lie inside, as an exponential for a scale.",
    )  # fmt: skip


def _near_one(node: Any, largest: np.ndarray, reads: str) -> Iterator[LintFinding]:
    """Find probabilities that 32 bits hardly tell from one; one itself is meant where it is one always."""
    near = (largest > np.float32(1 - NEAR_ONE)) & (largest <= 1)
    if near.any() and not (largest == 1).all():
        often = f"{int(near.any(axis=1).sum())} of {len(largest)} draws from the prior"
        found = f"a probability is closer to 1 than {NEAR_ONE:g} at {often}.{reads}"
        yield hazard(node.address, node.source, found, LOGITS)


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
