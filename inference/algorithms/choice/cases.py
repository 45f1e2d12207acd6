"""Cases: a program whose Python reads finite choices, taken apart into one program for each of their values.

Law: [[program]] is the sum over values v of [[case(v)]]: a case runs with the choice as a number, and weighs by its
probability. So draws of the cases, each weighed by its evidence, are draws of the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from scipy.special import logsumexp

from lawful.addresses import Address, names_of, show_address
from lawful.backends.xla import emit
from lawful.distributions.law import law_of
from lawful.errors import LawfulError, UnsupportedProgramError, without_fix
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.form.arguments.random_keys import one_key
from lawful.form.choices import choices_of
from lawful.form.liveness import random_values
from lawful.handlers.named_values import Giving, handled
from lawful.language.data.observed import announce, observe
from lawful.messages import Message, SampleMessage, handlers, reinstalled, surroundings
from lawful.tracing.trace import trace

from ...plans.plan import seed_of, told_of
from ...results.collect import from_population
from ...results.record import masked
from ...results.result import Result

MOST = 32  # cases
TRACES = 200  # in the search for what Python reads
CHAINS = 4

type Held = Mapping[Address, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """A program with some choices as numbers: their values by name, and the program."""

    held: Mapping[str, Any]
    program: Callable[..., Any]

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.held.items())


def cases_of(program: Callable[..., Any], args: Sequence[Any]) -> tuple[Case, ...]:
    """Find finite choices without which a program can be traced, and give the program for each of their values.

    Args:
        program: a program that cannot be traced.
        args: its arguments.

    Returns: none where no few choices, single numbers with at most 32 values in all, make it a program that can be
        traced, or where it raises an error at some value; other values without probability are left out.

    >>> import jax.numpy as jnp, lawful
    >>> def model():
    ...     number = int(lawful.sample("number", dist.Categorical(jnp.array([0.5, 0.0, 0.5]))))
    ...     return sum(lawful.sample(f"x{i}", dist.Normal(0.0, 1.0)) for i in range(number))
    >>> [str(case) for case in cases_of(model, ())]
    ['number=0', 'number=2']
    """
    search = _Search(program, tuple(args))
    found = search.apart({}) or ()
    return tuple(
        Case({show_address(address): value for address, value in held.items()}, _held(program, held))
        for held, form in found
        if not search.impossible(form, held)
    )


class _Search:
    def __init__(self, program: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.program, self.args, self.left = program, args, TRACES

    def apart(self, held: Held) -> list[tuple[Held, Form]] | None:
        """Give the choices that are held in each case, and its form; None where there is no such way."""
        first = self.traced(held)
        if isinstance(first, Form):
            return [(held, first)]
        read = self.read_among(held, first)
        if read is None:
            return None
        found: list[tuple[Held, Form]] = []
        for value in first.values[read]:
            part = self.apart({**held, read: value})
            if part is None or len(found) + len(part) > MOST:
                return None
            found += part
        return found

    def read_among(self, held: Held, first: _Stopped) -> Address | None:
        """Find a choice that Python reads where the trace stops: without its value it does not come any further."""
        values = {address: listed[0] for address, listed in first.values.items()}
        if not values or self.stays({**held, **values}, first):
            return None
        for address in list(values):
            fewer = {other: value for other, value in values.items() if other != address}
            if not self.stays({**held, **fewer}, first):
                values = fewer
        return next(iter(values), None)

    def stays(self, held: Held, first: _Stopped) -> bool:
        """Tell whether a trace stops at the same place, as early as before."""
        found = self.traced(held)
        return not isinstance(found, Form) and (found.place, found.met) == (first.place, first.met)

    def traced(self, held: Held) -> Form | _Stopped:
        """Trace with some choices as numbers; or tell where that stops."""
        self.left -= 1
        seen = _Stopped()
        if self.left < 0:
            return seen
        try:
            return trace(_held(self.program, held, seen), *self.args)
        except UnsupportedProgramError as error:
            seen.place = without_fix(error).split(" after site")[0]
            return seen
        except Exception:  # of the program itself, perhaps at a value that has no probability
            return _Stopped()

    def impossible(self, form: Form, held: Held) -> bool:
        """Tell whether a case has no probability, whatever the other choices are."""
        sites = [s for s in form.sites() if s.observed is not None and names_of(s.address) in map(names_of, held)]
        random = random_values(form)
        known = [s for s in sites if random.isdisjoint(s.parameters)]
        if not known:
            return False
        outputs = tuple(v for s in known for v in (s.observed, *s.parameters) if v is not None)
        inputs, _, _ = split_arguments(self.args)
        values = iter(emit(replace(form, outputs=outputs, out_tree=None))(jax.random.key(0), *inputs)[0])
        for site in known:
            value, *parameters = (next(values) for _ in range(1 + len(site.parameters)))
            if np.all(np.isneginf(site.law.log_prob(value, *parameters))):
                return True
        return False


@dataclass(eq=False)
class _Stopped:
    """Where a trace stops: the place in the program, how many sites it met before, and those of few values."""

    place: str = ""
    met: int = 0
    values: dict[Address, tuple[Any, ...]] = field(default_factory=dict)


def _held(program: Callable[..., Any], held: Held, seen: _Stopped | None = None) -> Callable[..., Any]:
    return handled(program, lambda: _Numbers(held, _Stopped() if seen is None else seen))


class _Numbers(Giving):
    """Gives choices as numbers that Python can read; for all others outside they are observations.

    The values of other choices that have few are written into `seen`.
    """

    def __init__(self, held: Held, seen: _Stopped) -> None:
        super().__init__(held)
        self.stop = seen

    def process(self, message: Message) -> None:
        here = surroundings()
        self.stop.met += isinstance(message, SampleMessage)
        if here.indices or here.arms or here.lanes is not None or here.steps:
            return  # a loop or an arm, where one value would stand for several, or for none
        if not isinstance(message, SampleMessage) or message.value is not None or message.plates:
            return
        value = self.data.get(message.address)
        if value is not None:
            stack = handlers()
            outside = replace(message)
            observe(outside, value)
            with reinstalled(stack[: stack.index(self)], surroundings()):
                announce(outside)
            message.value, message.stop, message.observed = np.asarray(value)[()], True, True  # cannot be changed
            message.mask = message.scale = None
            return
        law = law_of(message.distribution)[0]
        listed = law.element_values if law.shape == () else None
        if listed is not None and len(listed) <= MOST:
            self.stop.values[message.address] = tuple(np.asarray(listed))


@dataclass(frozen=True, eq=False, repr=False)
class CasesPlan:
    """How a program is inferred whose Python reads finite choices: each case by a plan of its own.

    Attributes:
        cases: the programs, and
        plans: those of each, all of whose methods give an evidence.
        draws: that the result is to be worth.
        seconds: of wall time, after which no case begins a second attempt; None: no limit.
        why: the program cannot be compiled as a whole.
    """

    cases: tuple[Case, ...]
    plans: tuple[Any, ...]
    draws: int
    seconds: float | None
    why: str

    @property
    def exact(self) -> bool:
        """Whether all programs have an exact answer."""
        return all(plan.exact for plan in self.plans)

    def __call__(self, key: Any) -> Result:
        """Run each case, and join the results by their evidence.

        Raises: what a case raises that gives no result.
        """
        own, results, begun = one_key(key), [], time.perf_counter()
        for number, (case, plan) in enumerate(zip(self.cases, self.plans, strict=True)):
            left = None if self.seconds is None else self.seconds - (time.perf_counter() - begun)
            try:
                results.append(replace(plan, seconds=left)(jax.random.fold_in(own, number)))
            except LawfulError as error:
                error.add_note(f"infer: this was the program with {case}")
                raise
        told = told_of({"draws": self.draws}, seed_of(key))
        run = {**told, "seconds": time.perf_counter() - begun, "plan": str(self)}
        return joined(self.cases, results, jax.random.fold_in(own, len(self.cases)), self.draws, run)

    def lines(self) -> list[str]:
        """Say in five lines what is read, and how the cases are inferred."""
        names = ", ".join(dict.fromkeys(name for case in self.cases for name in case.held))
        ways = dict.fromkeys("exact" if plan.exact else plan.attempts[0].name for plan in self.plans)
        others = dict.fromkeys(attempt.name for plan in self.plans for attempt in plan.attempts[1:])
        return [
            "infer: the program runs in Python alone",
            f"  {self.why}",
            f"  first {' or '.join(ways)} for each of {len(self.cases)} programs, those of the values of {names}",
            f"  else {', '.join(others) or 'nothing'}",
            f"  cost: {self.draws} draws, shared out by the evidence of each program",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def joined(
    cases: Sequence[Case], results: Sequence[Result], key: jax.Array, draws: int, run: Mapping[str, Any]
) -> Result:
    """Join the results of cases: draws of each weigh as much together as its evidence.

    Args:
        cases: the programs, whose choices in numbers become draws.
        results: of each, with an evidence.
        key: for the draws.
        draws: number of draws.
        run: of the result.
    """
    parts = [_part(case, result) for case, result in zip(cases, results, strict=True)]
    kinds = dict[str, Any]()
    for name, x in (item for part, _ in parts for item in part.items()):  # a name may be whole in one case alone
        kinds[name] = np.result_type(kinds.get(name, x.dtype), x.dtype)
    log_weight = np.concatenate([log for _, log in parts], axis=1)
    values = dict[str, np.ndarray]()
    for name, kind in kinds.items():
        shape = np.max([part[name].shape[2:] for part, _ in parts if name in part], axis=0).astype(int)
        own = [_filled(part.get(name), (*log.shape, *shape), kind) for part, log in parts]
        whole, there = (np.concatenate(x, axis=1) for x in zip(*own, strict=True))
        values |= masked({name: whole}, {} if there.all() else {name: there})
    log_evidence = logsumexp(log_weight, axis=1)
    if np.all(np.isneginf(log_evidence)):
        return results[0]  # which says that there is no posterior
    number = -(-draws // CHAINS)
    alive = np.isfinite(log_evidence)[:, None]
    below = np.cumsum(np.exp(log_weight - np.where(alive, log_evidence[:, None], 0.0)), axis=1)
    places = np.asarray(dist.Uniform().sample(key, (CHAINS, number)), float) * below[:, -1:]
    rows = np.stack([np.searchsorted(share, place, side="right") for share, place in zip(below, places, strict=True)])
    rows = np.minimum(rows, below.shape[1] - 1)
    each = np.arange(CHAINS)[:, None]
    drawn = {name: x[each, rows] for name, x in values.items()}
    told = [f"{case}: {'; '.join(result.run['tried'])}" for case, result in zip(cases, results, strict=True)]
    return from_population(
        drawn, np.zeros(rows.shape), log_evidence, draws=drawn, sampler="infer", shuffle=None,
        found=tuple(_findings(cases, results)), run={**run, "tried": told},
    )  # fmt: skip


def _filled(values: np.ndarray | None, shape: tuple[int, ...], kind: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give values in the first part of a shape, and which elements they are."""
    whole, there = np.zeros(shape, kind), np.zeros(shape, bool)
    if values is not None:
        part = tuple(slice(size) for size in values.shape)
        whole[part], there[part] = values, True
    return whole, there


def _findings(cases: Sequence[Case], results: Sequence[Result]) -> Iterator[Any]:
    """Give what is found in a case; but not that one has no posterior, or that it alone does not read an argument."""
    failed = [[finding for finding in result.reasons if finding.status] for result in results]
    unread = all(any(finding.code == "UNOBSERVED" for finding in own) for own in failed)
    for case, result, own in zip(cases, results, failed, strict=True):
        if result.run.get("certificate") == "exact" and not np.any(np.isfinite(result.log_evidence)):
            continue
        named = (replace(finding, message=f"{case}: {finding.message}") for finding in own)
        yield from (finding for finding in named if unread or finding.code != "UNOBSERVED")


def alike(forms: Sequence[Form]) -> bool:
    """Tell whether sites of one name have values of as many axes in all forms."""
    axes: dict[str, set[int]] = {}
    for form in forms:
        for choice in choices_of(form, ("sample", "deterministic")):
            axes.setdefault(choice.name, set()).add(len(choice.full_shape))
    return all(len(found) == 1 for found in axes.values())


def _part(case: Case, result: Result) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Give the values of a case (chain, draw, ...) and log weights whose sum in each chain is its evidence."""
    log_evidence, weighted = np.asarray(result.log_evidence, float), result._weighted
    if weighted is None:
        values = {name: np.asarray(x) for name, x in result._posterior.items()}  # none of what is impossible
        count = next(iter(values.values())).shape[1] if values else 1
        log_weight = np.full((CHAINS, count), log_evidence.max() - np.log(count))
    else:
        log_weight = np.asarray(weighted.log_weight, float)
        total = logsumexp(log_weight, axis=1, keepdims=True)
        alive = np.isfinite(total) & np.isfinite(log_evidence)[:, None]
        log_weight = np.where(alive, log_weight - np.where(alive, total, 0.0) + log_evidence[:, None], -np.inf)
        values = {name: np.asarray(x) for name, x in weighted.values.items()}
        runs = len(log_weight)  # several runs become one chain, whose evidence is their mean
        log_weight = log_weight.reshape(CHAINS, -1) - np.log(runs // CHAINS)
        values = {name: x.reshape(CHAINS, -1, *x.shape[2:]) for name, x in values.items()}
    held = {name: np.full(log_weight.shape, value) for name, value in case.held.items()}
    return {**held, **values}, log_weight
