"""Resample-move keeps the measure: a kernel at a pause has the program up to the pause as its target."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, inference, sample, scan
from lawful.errors import LawfulError
from lawful.inference import kernels
from lawful.inference.check import compare, enumerate_measure, invariant
from lawful.inference.representations.sequential import sequential
from lawful.inference.transformers.moves_at_pauses import until
from tests.inference.programs import Y, branch_in_the_body, chain, observe, plain
from tests.inference.tier0 import law_error

TOLERANCE = 1e-12


def two_sites(y):
    a = sample("a", dist.Bernoulli(0.3))
    observe(a, y[0], "first")
    b = sample("b", dist.Bernoulli(0.2 + 0.5 * a))
    observe(b, y[1], "second")
    return a + 2 * b


def one_step(y):
    """A site before the loop, moved at its first step too."""
    a = sample("a", dist.Bernoulli(0.3))
    observe(a, y[0], "first")

    def step(z, y):
        z = chain(z)
        observe(z, y)
        return z, None

    return scan(step, a, y[1:])[0] + 2 * a


@pytest.mark.rest_slow
@pytest.mark.tier0
@pytest.mark.parametrize(
    ("program", "settings"),
    [
        (two_sites, {"resampling": "systematic", "resample_below": 0.9}),
        (one_step, {"resampling": "stratified", "resample_below": None, "keep": "last"}),
    ],
    ids=lambda value: getattr(value, "__name__", None) or ", ".join(map(str, value.values())),
)
def test_a_filter_with_moves_keeps_the_measure(program, settings):
    plan = inference.smc(program, particles=2, move=kernels.mh(), **settings)
    assert law_error(plan, program, Y).error < TOLERANCE


class Flip:
    """Propose the other side of every coin."""

    contract = kernels.mh().contract

    def propose(self, block, program, inputs, choices, state):
        values = [block.det(lambda v: 1 - v, v, label="flip") for v in state.values]
        log_density, flags = kernels.scored(block, program, inputs, values)
        ratio = block.det(jnp.subtract, log_density, state.log_density, label="log ratio")
        return kernels.Proposed(kernels.State(tuple(values), flags, log_density), ratio)

    def plan(self, program):
        return ["flip"]


def two_loops(y):
    """What is between the loops and at the end reads a choice of the first, which moves in the second."""

    def forth(z, y):
        z = chain(z)
        observe(z, y)
        return z, z

    z, path = scan(forth, 0, y[:1])
    factor("between", -0.4 * path[0])

    def back(w, _):
        w = chain(w, "w")
        factor("again", -0.3 * w)
        return w, None

    return scan(back, z, None, length=1)[0] + 2 * path[0]


@pytest.mark.slow
@pytest.mark.tier0
@pytest.mark.parametrize("program", [two_loops, branch_in_the_body], ids=lambda program: program.__name__)
def test_moves_of_all_sites_keep_the_measure_in_several_loops_and_branches(program):
    plan = inference.smc(program, particles=2, move=Flip(), keep="last", resample_below=None)
    assert law_error(plan, program, Y).error < TOLERANCE


def stops_after(program, steps):
    """The program on its first observations."""
    return lambda y: program(y[:steps])


@pytest.mark.tier0
@pytest.mark.parametrize("program", [plain, branch_in_the_body], ids=lambda program: program.__name__)
@pytest.mark.parametrize("steps", [1])
def test_at_a_pause_in_a_loop_the_target_is_the_program_of_the_steps_so_far(program, steps):
    cut = sequential(lawful.trace(program, Y), hold=True)
    loop = cut.segments[1].loop
    target = until(cut, 0, loop)
    ours = enumerate_measure(target, Y, np.int32(steps)).marginal(lambda trace: trace.choices)
    theirs = enumerate_measure(stops_after(program, steps), Y).marginal(lambda trace: trace.choices)
    assert compare(ours, theirs).error < TOLERANCE
    assert invariant(kernels.mh(), target, Y, np.int32(steps)).passed


@pytest.mark.slow
def test_moves_bring_back_what_resampling_lost():
    """A level that is drawn once: without moves few values are left after twenty steps, with them all differ."""

    def level(y):
        mu = sample("mu", dist.Normal(0.0, 3.0))

        def step(carry, y):
            sample("y", dist.Normal(mu, 1.0), obs=y)
            return carry, None

        scan(step, 0.0, y)

    y = 1.5 + jax.random.normal(jax.random.key(3), (20,))
    settings = {"particles": 200, "runs": 4, "resample_below": None}
    plain = inference.smc(level, **settings)(jax.random.key(0), y)
    moved = inference.smc(level, move=kernels.random_walk(0.5), **settings)(jax.random.key(0), y)
    distinct = [[len(np.unique(run)) for run in result.weighted.values["mu"]] for result in (plain, moved)]
    assert max(distinct[0]) < 60 and min(distinct[1]) > 150
    sd = (1 / 9 + 20) ** -0.5
    mean = float(jnp.sum(y)) * sd**2
    assert abs(moved.posterior["mu"].mean() - mean) < 5 * sd / np.sqrt(4 * 200 / 10)
    assert abs(moved.posterior["mu"].std() / sd - 1) < 0.3


def test_a_move_without_choices_in_view_says_how_to_get_them():
    step = inference.resample("systematic") >> inference.move(kernels.mh()) >> inference.Advance
    with pytest.raises(LawfulError, match="hold=True"):
        (inference.Suspend >> inference.spawn(2) >> inference.repeat_to_end(step))(lawful.trace(plain, Y))


def test_a_move_by_no_kernel_is_an_error():
    with pytest.raises(LawfulError, match="move: expected a kernel"):
        inference.smc(plain, particles=2, move="mh")


def test_a_step_that_does_not_advance_is_refused():
    suspended = inference.Suspend >> inference.spawn(2)
    for program in (plain, two_sites):
        with pytest.raises(LawfulError, match="does not advance"):
            (suspended >> inference.repeat_to_end(inference.PushEvidence))(lawful.trace(program, Y))
