"""Kernels are started from exact draws of choices and data: lawful ones keep their law, planted faults do not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.errors import ImproperPriorError, LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant, preserves
from lawful.inference.check.statistics.paired import Batch, Tally
from lawful.inference.check.statistics.quantities import Quantities
from tests.mutants import kernels as kernel_mutants
from tests.mutants import maps, randomness

pytestmark = pytest.mark.tier1
Y = jnp.array([0.3, 1.2])


def positive(y):
    """A scale with a bound, in data of two values."""
    scale = lawful.sample("scale", dist.Gamma(2.0, 1.0))
    with lawful.plate("i", 2):
        lawful.sample("y", dist.Normal(0.0, scale), obs=y)


def chain(y):
    """A latent walk seen with noise."""

    def step(x, y):
        x = lawful.sample("x", dist.Normal(0.9 * x, 1.0))
        lawful.sample("y", dist.Normal(x, 0.5), obs=y)
        return x, None

    lawful.scan(step, 0.0, y)


def switch(y):
    """A choice between two arms with sites of their own."""
    b = lawful.sample("b", dist.Bernoulli(0.4))
    mean = lawful.cond(
        b == 1,
        lambda: lawful.sample("left", dist.Normal(-1.0, 1.0)),
        lambda: 1.0 + lawful.sample("right", dist.Exponential(1.0)),
    )
    lawful.sample("y", dist.Normal(mean, 1.0), obs=y[0])


WALK = kernels.mh(kernels.random_walk(0.7))
SMALL = {"n": 2_000, "steps": (1, 5)}


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    ("kernel", "model"),
    [
        (WALK, positive),
        (kernels.mh(), positive),
        pytest.param(WALK, chain, marks=pytest.mark.slow),
        pytest.param(kernels.cycle(kernels.mh(), WALK), chain, marks=pytest.mark.slow),
        (kernels.mh(), switch),
        pytest.param(kernels.mh(kernels.independence()), positive, marks=pytest.mark.slow),
    ],
    ids=["walk on a bounded site", "single site", "walk in a loop", "cycle", "branches", "independence"],
)
def test_a_lawful_kernel_passes(kernel, model):
    report = invariant(kernel, model, Y, **SMALL)
    assert report.passed, report
    assert report.level == "statistical" and report.alpha_spent == 1e-6 / 512
    assert report.detects(0.2)
    assert report.repro in repr(report)


@pytest.mark.slow
@pytest.mark.usefixtures("single_precision")
@pytest.mark.parametrize("kernel", [WALK, kernels.mh()], ids=repr)
def test_a_lawful_kernel_passes_in_single_precision(kernel):
    report = invariant(kernel, positive, np.float32(Y), **SMALL)
    assert report.passed, report
    assert report.environment["dtype"] == "float32"


FAULTS = {
    "always accept": kernel_mutants.always_accept,
    "no Jacobian": maps.jacobian_missing,
    "Jacobian upside down": maps.jacobian_inverted,
    "one key": randomness.one_key,
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails(fault):
    with FAULTS[fault]() as reached:
        report = invariant(WALK, positive, Y, **SMALL)
    assert report.status == "failed", report
    assert reached.count and report.p_value < 1e-6 and report.worst[0]


@pytest.mark.slow
def test_finite_programs_are_enumerated_unless_told_otherwise():
    def coins(y):
        a = lawful.sample("a", dist.Bernoulli(0.3))
        lawful.sample("y", dist.Bernoulli(0.2 + 0.5 * a), obs=y)

    assert invariant(kernels.mh(), coins, 1).level == "exact"
    report = invariant(kernels.mh(), coins, jnp.array(1), level="statistical", **SMALL)
    assert report.passed and report.level == "statistical"
    with kernel_mutants.always_accept():
        assert invariant(kernels.mh(), coins, jnp.array(1), level="statistical", **SMALL).status == "failed"


def partly_seen(mask, read=False):
    """Two classes, one observation of each, of which a mask says whether it was made."""
    with lawful.plate("i", 2):
        z = lawful.sample("z", dist.Bernoulli(0.4))
        y = lawful.sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=jnp.array([1, 0]), obs_mask=mask)
    if read:
        lawful.factor("f", 0.3 * jnp.sum(y))


@pytest.mark.rest_slow
@pytest.mark.parametrize("read", [False, True])
def test_a_discrete_observation_with_gaps_is_checked_exactly(read):
    """What nothing reads of the missing elements is summed in a traced program, and drawn in an eager one."""
    program, mask = partial(partly_seen, read=read), jnp.array([True, False])
    for kernel in (kernels.gibbs(), kernels.mh()):
        report = invariant(kernel, program, mask)
        assert report.passed and report.tv < 1e-12, report
    report = preserves(inference.marginalise(["z"]), program, mask)
    assert report.passed and report.measure_error < 1e-12, report


@pytest.mark.slow
def test_a_planted_fault_fails_beside_a_discrete_observation_with_gaps():
    with kernel_mutants.always_accept() as reached:
        report = invariant(kernels.mh(), partly_seen, jnp.array([True, False]))
    assert report.status == "failed" and reached.count, report


def test_what_cannot_be_drawn_is_refused_by_name():
    def weighed():
        lawful.factor("f", -(lawful.sample("x", dist.Normal(0.0, 1.0)) ** 2))

    def scaled(y):
        x = lawful.sample("x", dist.Normal(0.0, 1.0))
        with lawful.scale(0.5):
            lawful.sample("y", dist.Normal(x, 1.0), obs=y)

    def flat():
        lawful.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))

    with pytest.raises(UnsupportedProgramError, match=r"factor 'f' .*there is no exact start"):
        invariant(WALK, weighed)
    with pytest.raises(ImproperPriorError, match=r"site 'x' .*flat prior"):
        invariant(WALK, flat)
    with pytest.raises(UnsupportedProgramError, match=r"site 'y' .*under a scale"):
        invariant(WALK, scaled, 0.3)
    with pytest.raises(LawfulError, match="expected level in"):
        invariant(WALK, positive, Y, level="certain")
    with pytest.raises(LawfulError, match="steps of at least 1"):
        invariant(WALK, positive, Y, steps=(0,))


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    """Exchangeable pairs, 2,000 times at 1 %: more than 42 alarms has probability 1e-6."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(2_000):
        pairs = rng.normal(size=(2, 60, 2))
        pairs[..., 1] = rng.integers(0, 3, (2, 60))
        ranks = rng.integers(0, 6, (60, 2))
        tally = Tally(Quantities(["a", "b"], pairs[0]), (1,), 6)
        tally.add(Batch(pairs[0], [pairs[1]], ranks))
        alarms += tally.p_value()[0] <= 0.01
    assert alarms <= 42


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
def test_an_exact_check_in_single_precision_says_so():
    def coins():
        a = lawful.sample("a", dist.Bernoulli(0.3))
        lawful.sample("y", dist.Bernoulli(0.2 + 0.5 * a), obs=1)

    with jax.enable_x64(False):
        report = invariant(kernels.mh(), coins, tolerance=0.0)
    assert report.status == "failed" and "jax_enable_x64" in report.remarks
