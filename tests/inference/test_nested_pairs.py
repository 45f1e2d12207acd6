"""Every two constructs of the language, one inside the other: all ways of summing agree, or refuse and say what to do.

Refusals are listed here, and the table of the page on summing is made of this list.
"""

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import LawfulError

from .nested_pairs import CONSTRUCTS, READS, nested

PAGE = Path(__file__).parents[2] / "docs" / "summing.md"
PAIRS = [(outer, inner) for outer in CONSTRUCTS for inner in CONSTRUCTS]
QUICK = [("scan", "bounded_loop"), ("switch", "scan")]
IN_A_PLATE = {
    "scan": ("inside plate .*put the plate inside the body", "put the plate inside the body"),
    "bounded_loop": ("inside plate .*put the plate inside the body", "put the plate inside the body"),
    "cond": ("expected a scalar.*Fix", "choose element by element by `jnp.where`"),
    "switch": ("expected a scalar.*Fix", "choose element by element by `jnp.where`"),
}


def evidence(program, sites):
    """Log of the sum over all sites of a program without others."""
    form = inference.enumeration(lawful.trace(program), sites).marginal
    assert not list(form.sites()) or all(site.observed is not None for site in form.sites())
    return float(form.log_density({}))


SUMS = {
    "bp": lambda program: float(inference.bp(program).beliefs().log_evidence),
    "in the program": lambda program: evidence(program, inference.marginalise(method="program")),
    "by a graph": lambda program: evidence(program, inference.marginalise(method="graph")),
    "marginalise": lambda program: evidence(program, "all"),
}


def refused(outer, inner):
    return outer == "plate" and inner in IN_A_PLATE


def they_agree(outer, inner, reads, sums=tuple(SUMS)):
    program = nested(outer, inner, reads)
    exact = inference.enumerate(program)().log_evidence
    found = {name: SUMS[name](program) for name in sums}
    assert all(value == pytest.approx(exact, abs=1e-10) for value in found.values()), (exact, found)


@pytest.mark.slow
@pytest.mark.parametrize(("outer", "inner"), QUICK)
def test_sums_of_nested_constructs_agree(outer, inner):
    they_agree(outer, inner, "state", ("bp", "in the program"))


@pytest.mark.slow
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize(("outer", "inner"), [pair for pair in PAIRS if not refused(*pair)])
def test_all_sums_of_all_nested_constructs_agree(outer, inner, reads):
    they_agree(outer, inner, reads)


@pytest.mark.slow
@pytest.mark.parametrize(("outer", "inner"), [pair for pair in PAIRS if not refused(*pair)])
def test_estimates_of_all_nested_constructs_agree(outer, inner):
    """64 runs: 7 standard errors, a false alarm below 1e-8 each if they were normal, 3e-9 times 32 with 63 degrees."""
    program = nested(outer, inner)
    exact = inference.enumerate(program)().log_evidence
    runs = inference.importance(program, particles=250, runs=64)(0).log_evidence
    ratio = np.exp(np.asarray(runs) - exact)
    assert abs(ratio.mean() - 1) < 7 * ratio.std(ddof=1) / math.sqrt(len(ratio))


@pytest.mark.parametrize("inner", IN_A_PLATE)
def test_control_flow_in_a_plate_is_refused_with_what_to_do(inner):
    for run in (lambda program: inference.enumerate(program)(), *SUMS.values()):
        with pytest.raises(LawfulError, match=IN_A_PLATE[inner][0]):
            run(nested("plate", inner))


# ---- what one way of summing refuses, and another does


def many_turns():
    """A bounded loop whose state depends on all turns so far."""
    end = lawful.bounded_loop(
        lambda s: lawful.sample("on", dist.Bernoulli(0.3 + 0.3 * s)) == 1,
        lambda s: lawful.sample("x", dist.Bernoulli(0.2 + 0.5 * s)),
        lawful.sample("start", dist.Bernoulli(0.35)),
        max_steps=12,
    )
    lawful.factor("end", 0.3 * end)


def read_at_every_step():
    """A long chain whose steps also read a choice before it."""
    a = lawful.sample("a", dist.Bernoulli(0.4))

    def step(s, _):
        s = lawful.sample("s", dist.Bernoulli(0.2 + 0.3 * s + 0.2 * a))
        return s, lawful.factor("w", 0.2 * s)

    lawful.scan(step, jnp.asarray(0), None, length=100)


def elements_that_meet():
    """Elements of an array that one condition reads together."""
    with lawful.plate("i", 40):
        z = lawful.sample("z", dist.Bernoulli(0.3))
    lawful.factor("f", jnp.where(jnp.sum(z) >= 2, 0.0, -jnp.inf))


ONE_WAY = {
    many_turns: (
        "a `bounded_loop` of 12 turns, whose state depends on all turns so far",
        "needs a table of .*Or leave out method='program'",
    ),
    read_at_every_step: (
        "a `scan` of 100 steps, each of which reads a summed site from outside",
        "100 steps are too many to write out .*Or leave out method='program'",
    ),
    elements_that_meet: (
        "40 elements of a plate that one condition reads together",
        "together its elements have .*Or leave out method='program'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("program", ONE_WAY)
def test_what_is_refused_names_what_can_do_it(program):
    with pytest.raises(LawfulError, match=ONE_WAY[program][1]):
        SUMS["in the program"](program)
    for name in ("bp", "marginalise"):
        assert SUMS[name](program) == pytest.approx(EXACT[program](), abs=1e-10)


def chain_with_a_choice():
    total = []
    for a, weight in ((0, 0.6), (1, 0.4)):
        state = np.array([1.0, 0.0])
        for _ in range(100):
            up = 0.2 + 0.3 * np.arange(2) + 0.2 * a
            state = np.array([state @ (1 - up), np.exp(0.2) * (state @ up)])
        total.append(weight * state.sum())
    return np.log(sum(total))


def turns_by_hand():
    """Go forward over (where it stands, goes on): what goes on after 12 turns has no mass."""
    state, ended = np.array([0.65, 0.35]), np.zeros(2)
    for turn in range(13):
        on = 0.3 + 0.3 * np.arange(2)
        ended += state * (1 - on)
        up = 0.2 + 0.5 * np.arange(2)
        going = state * on
        state = np.array([going @ (1 - up), going @ up]) if turn < 12 else state
    return np.log(ended @ np.exp(0.3 * np.arange(2)))


EXACT = {
    many_turns: turns_by_hand,
    read_at_every_step: chain_with_a_choice,
    elements_that_meet: lambda: np.log1p(-(0.7**40) - 40 * 0.3 * 0.7**39),
}


def table():
    """The rows of the page."""
    rows = ["| the program | refused by | what does it |", "|---|---|---|"]
    rows += [f"| `{inner}` in a plate | every method | {fix} |" for inner, (_, fix) in IN_A_PLATE.items()]
    rows += [f"| {what} | `marginalise(method='program')` | `marginalise()`, `bp` |" for what, _ in ONE_WAY.values()]
    return "\n".join(rows)


def test_the_table_of_refusals_is_that_of_the_page():
    assert table() in PAGE.read_text()
