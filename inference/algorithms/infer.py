"""Infer: one line that chooses how a program is inferred, says why, and watches the verdict.

Law: whatever is chosen is a method of this library on the program, or on what exact sums and integrals leave of it, and
keeps its law; so the answer is that of the program. A result is ok only where the attempt that gave it says so itself:
what is tried before or after changes no draw of it. What was tried stands in `result.run["tried"]`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from lawful.errors import LawfulError, UnsupportedProgramError, without_fix
from lawful.form import Form
from lawful.form.arguments.calls import positional
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of
from lawful.tracing.trace import trace

from ..plans.plan import Builder, Prepared, refuse_traced
from ..plans.setting_types import at_least
from ..results.copies import Told
from ..results.result import Result
from .choice.attempts import CHAINS, Attempt, attempts_at, begun_at, misses_a_mode
from .choice.cases import CasesPlan, alike, cases_of
from .choice.exact import exact_result, listed_answer, summed_answer
from .choice.reduction import Reduction, reduced
from .enumerated import Enumerated, enumerate
from .importance import Importance
from .mcmc import Mcmc

DRAWS = 4000
PATHS = 5000  # of a program that runs in Python
MISSING = 1e-10  # share of the evidence that paths without a bound may miss
CALLS = 8  # of the density, whose time is the cost that a plan tells


@dataclass(frozen=True, eq=False, repr=False)
class InferPlan:
    """How a program is inferred, for arguments of some shapes: an ordinary value.

    Attributes:
        model: the program.
        args: its arguments.
        attempts: methods with the reason of each, in the order in which they are tried; none where the answer is exact.
        reduction: what is summed and integrated before; None of a program that runs in Python alone.
        reasons: what is summed and integrated, and why.
        listed: all paths, where they are the answer.
        draws: that a result is to be worth, in all chains.
        seconds: of wall time, after which no other attempt begins; None: no limit.
    """

    model: Any
    args: tuple[Any, ...]
    attempts: tuple[Attempt, ...]
    reduction: Reduction | None
    reasons: tuple[str, ...]
    listed: Enumerated | None
    draws: int
    seconds: float | None
    prepared: Prepared | None = None
    _plans: dict[int, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the answer is exact."""
        return self.listed is not None or (self.reduction is not None and self.reduction.exact)

    def method(self, number: int) -> Any:
        """Give the plan of an attempt, which can be called by hand: `plan.method(0)(key, *args)`."""
        if number not in self._plans:
            self._plans[number] = self.attempts[number].on(self.model)
        return self._plans[number]

    @cached_property
    def cost(self) -> float | None:
        """Seconds of an evaluation of the density with its gradient, measured; None where it has none."""
        known = self.reduction
        if known is None or known.exact or not known.smooth:
            return None
        form = known.left
        values = {c.name: jnp.full(c.full_shape, 0.5, c.dtype) for c in choices_of(form)}
        inputs = () if self.prepared is None else tuple(self.prepared.inputs)
        run = jax.jit(lambda values, *inputs: jax.grad(lambda v: form.log_density(v, *inputs))(values))
        jax.block_until_ready(run(values, *inputs))
        begun = time.perf_counter()
        for _ in range(CALLS):
            jax.block_until_ready(run(values, *inputs))
        return (time.perf_counter() - begun) / CALLS

    def __call__(self, key: Any) -> Result:
        """Run: the exact answer, or the attempts one after the other until one is ok.

        Raises: what the last attempt raises, where none gives a result.
        """
        begun = time.perf_counter()
        if self.exact:
            return self._exact(key, begun)
        own, tried, results, failed = one_key(key), [], list[Result](), None
        waiting = [*range(len(self.attempts))]
        while waiting:
            attempt, passed = self.attempts[number := waiting.pop(0)], time.perf_counter() - begun
            if results and self.seconds is not None and passed > self.seconds:
                tried.append(f"{attempt.name}: not tried, as {passed:.1f} s of {self.seconds:g} s had passed")
                break
            try:
                result = self.begun(number, results)(jax.random.fold_in(own, number), *self.args)
            except LawfulError as error:
                failed = error
                tried.append(f"{attempt.name}: {type(error).__name__}: {without_fix(error)}")
                continue
            results.append(result)
            tried.append(f"{attempt.name}: {_verdict(result)}")
            if result.ok:
                return self._told(result, tried, begun)
            if misses_a_mode(result):  # chains that stay in one mode may agree, and would be ok and wrong
                stays = [self.attempts[other].name for other in waiting if not self.attempts[other].travels]
                tried += [f"{name}: not tried, as modes lie apart" for name in stays]
                waiting = [other for other in waiting if self.attempts[other].travels]
        if not results:
            assert failed is not None
            raise failed
        # The last one with the fewest failures: later attempts take more care.
        best = min(reversed(results), key=lambda result: (not result.ok, bin(result.status.value).count("1")))
        return self._told(best, tried, begun)

    def begun(self, number: int, results: Sequence[Result]) -> Any:
        """Give the plan of an attempt after the results of others, which teach coordinates, and where chains begin."""
        if self.attempts[number].learnt is not None and results and self.prepared is not None:
            return self.attempts[number].after(tuple(self.prepared.inputs), results).on(self.model)
        plan, method = self.method(number), self.attempts[number].method
        if not isinstance(method, Mcmc) or self.reduction is None or self.attempts[number].before is not None:
            return plan
        names = tuple(choice.name for choice in choices_of(self.reduction.left))
        init = begun_at(results, names)
        return plan if init is None else plan.starting(init)

    def _exact(self, key: Any, begun: float) -> Result:
        if self.listed is not None:
            fields, how = listed_answer(self.listed, key, self.draws), "all paths listed"
        else:
            assert self.reduction is not None and self.reduction.found is not None
            inputs = () if self.prepared is None else tuple(self.prepared.inputs)
            fields, how = summed_answer(self.reduction.found, key, inputs, self.draws), "all sites summed or integrated"
        result = exact_result(fields, key, self.prepared, {"draws": self.draws})
        return self._told(result, [f"{how}: exact"], begun)

    def _told(self, result: Result, tried: list[str], begun: float) -> Result:
        own = {"tried": tried, "seconds": time.perf_counter() - begun, "plan": Told(lambda: str(self))}
        return replace(result, run={**result.run, **own})

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Say in five lines what is in the program, what is taken away, what is tried, what else, and the cost."""
        found = self.reduction
        if found is None:
            first = "infer: the program runs in Python alone"
        else:
            names = ", ".join(c.name for c in choices_of(found.form)) or "none"
            first = f"infer: sites {names}"
        removed = "; ".join(self.reasons) or "nothing is summed or integrated out"
        if self.exact:
            how, cost = "no site is left: the answer is exact", f"{self.draws} independent draws"
            if self.listed is not None:
                missing, cost = self.listed.posterior_error(), f"{self.listed.paths} paths; {cost}"
                how = "all paths are listed: the answer is exact"
                if missing:
                    how = f"paths are listed but for {missing:.0e} at most, where later weights are at most 1"
            return [first, f"  {removed}", f"  {how}", "  else nothing", f"  cost: {cost}"]
        steps = [f"{attempt.name} ({attempt.why})" for attempt in self.attempts]
        cost = "" if self.cost is None else f"{1e6 * self.cost:.0f} us a density with gradient; "
        limit = "no limit of time" if self.seconds is None else f"no attempt begins after {self.seconds:g} s"
        return [
            first,
            f"  {removed}",
            f"  first {steps[0]}",
            f"  else {', '.join(steps[1:]) or 'nothing'}",
            f"  cost: {cost}{self.draws} draws; {limit}",
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """A program with a choice of its inference, which waits for its arguments."""

    model: Any
    draws: int
    seconds: float | None
    progress: bool | None
    weighed: bool = False  # by methods alone that give an evidence
    _made: dict[Any, InferPlan] = field(default_factory=dict)
    _cases: dict[str, Inference] = field(default_factory=dict)

    def __call__(self, key: Any, *args: Any, **named: Any) -> Result:
        """Choose, and run; the plan of arguments with the same shapes is made once.

        Raises: as the methods that are tried.
        """
        refuse_traced((key, args), "inference.mcmc(model).sampler(*arguments), which jit and vmap take")
        one_key(key)
        return self.plan(*args, **named)(key)

    def plan(self, *args: Any, **named: Any) -> InferPlan | CasesPlan:
        """Say how the program is inferred with these arguments: a value that prints, and that a key runs."""
        args = positional(self.model, args, named)
        try:
            trace(self.model, *args)
        except UnsupportedProgramError as error:
            return self._in_python(args, error)
        prepared = self._builder(args)
        form = prepared.form
        if form not in self._made:
            self._made[form] = self._chosen(form, args)
        return replace(self._made[form], args=args, prepared=prepared)

    @cached_property
    def _builder(self) -> Builder:
        return Builder(self.model, lambda form: None)

    def _chosen(self, form: Form, args: tuple[Any, ...]) -> InferPlan:
        found = reduced(form)
        if found.exact:
            return self._of(args, (), found, found.reasons)
        attempts = attempts_at(found, self.draws, self.progress)
        if self.weighed:
            attempts = tuple(attempt for attempt in attempts if not isinstance(attempt.method, Mcmc))
        return self._of(args, attempts, found, found.reasons)

    def _in_python(self, args: tuple[Any, ...], error: UnsupportedProgramError) -> InferPlan | CasesPlan:
        """Plan for a program of varying structure.

        All paths where they are few; else a program for each value of the choices that Python reads, where these are
        few; else moves of one choice at a time.
        """
        try:
            found = enumerate(self.model, mode="eager", max_paths=PATHS)(*args)
        except LawfulError:
            try:
                found = enumerate(self.model, mode="eager", max_paths=PATHS, unexplored=MISSING)(*args)
            except LawfulError:
                found = None
        why = f"not compiled: {without_fix(error).split(': ')[0]}"
        if found is not None:
            return self._of(args, (), None, (why,), found)
        cases = cases_of(self.model, args)
        for case in cases:
            part = replace(self, model=case.program, weighed=True, _made={}, _cases={})
            self._cases.setdefault(str(case), part)
        plans = [plan for plan in (self._cases[str(case)].plan(*args) for case in cases) if isinstance(plan, InferPlan)]
        forms = [plan.prepared.form for plan in plans if plan.prepared and (plan.exact or plan.attempts)]
        if cases and len(forms) == len(cases) and alike(forms):
            return CasesPlan(cases, tuple(plans), self.draws, self.seconds, why)
        each = max(1, -(-self.draws // CHAINS))
        common: Any = {"mode": "eager", "progress": self.progress}
        chains = Mcmc(draws=each, warmup=each, **common)
        attempts = (
            Attempt("importance", Importance(particles=each, runs=CHAINS, **common), "from the prior; weights tell"),
            Attempt("mcmc", chains, "one choice at a time, whatever the program does"),
            Attempt("mcmc, longer", Mcmc(draws=each, thin=8, warmup=8 * each, **common), "eight times as many steps"),
        )
        return self._of(args, attempts, None, (why,))

    def _of(
        self,
        args: tuple[Any, ...],
        attempts: tuple[Attempt, ...],
        found: Reduction | None,
        reasons: tuple[str, ...],
        listed: Enumerated | None = None,
    ) -> InferPlan:
        return InferPlan(self.model, args, attempts, found, reasons, listed, self.draws, self.seconds)


def infer(model: Any, *, draws: int = DRAWS, seconds: float | None = None, progress: bool | None = None) -> Inference:
    """Infer a program without saying how: a plan is chosen by what the program is, and its verdict is watched.

    Finite sites are summed and normal ones integrated out where that costs little; where none is left, the answer is
    exact. Else attempts follow each other until one is ok: of a smooth density a guide whose draws are weighed, then
    chains of NUTS from these, then other coordinates, more care, and a path from the prior; of other programs particles
    or chains of exact conditionals; of a program that cannot be compiled a list of its paths, or a program for each
    value of what Python reads, joined by their evidence, or moves of one choice at a time. A result that no attempt
    makes ok says so.

    Args:
        model: a program.
        draws: that the result is to be worth, in all chains; of a method with weights it holds more.
        seconds: of wall time, after which no other attempt begins.
        progress: as for every method.

    Returns: `infer(model)(key, *args)` gives a `Result`, with `run["tried"]`; `infer(model).plan(*args)` the plan,
        which prints in five lines. Its attempts are methods that can be changed, and run by hand; those of a program
        that is taken apart stand in the plan of each part, `plan.plans`.

    >>> import jax, jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> def coins(heads):
    ...     fair = lawful.sample("fair", dist.Bernoulli(0.5))
    ...     with lawful.plate("toss", 5):
    ...         lawful.sample("heads", dist.Bernoulli(jnp.where(fair == 1, 0.5, 0.9)), obs=heads)
    >>> result = infer(coins)(0, jnp.ones(5, int))
    >>> result.ok, result.marginals["fair"].round(4).tolist(), result.run["tried"]
    (True, [0.9497, 0.0503], ['all sites summed or integrated: exact'])
    """
    at_least(1).how("draws", draws)
    if seconds is not None and not seconds > 0:
        raise LawfulError(f"infer: seconds: expected a positive number, got {seconds!r}. Fix: seconds=60, or none.")
    return Inference(model, draws, seconds, progress)


def _verdict(result: Result) -> str:
    if result.ok:
        return "ok"
    return "not ok: " + ", ".join(dict.fromkeys(finding.code for finding in result.reasons if finding.status))
