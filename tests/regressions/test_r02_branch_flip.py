"""15.2: an update that flips a branch weighs the difference of the scores of the arms that run.

Where the new arm is measured against the arm that did not run, the move from (true, 1) to (false, 2) has the weight
3.0, and that of the selector alone 0.0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, factor, handlers, inference, sample
from lawful.inference import kernels
from lawful.inference.check import invariant, preserves
from tests.inference.kernels.transition import Transition
from tests.tiers import rest_slow

Y = 3.0


def one_address(y):
    """A site of the same address in both arms."""
    b = sample("b", dist.Bernoulli(0.5))
    v = cond(b == 1, lambda: sample("v", dist.Normal(0.0, 1.0)), lambda: sample("v", dist.Normal(3.0, 1.0)))
    sample("y", dist.Normal(v, 1.0), obs=y)


def two_addresses(y):
    """A site in each arm."""
    b = sample("b", dist.Bernoulli(0.5))
    v = cond(b == 1, lambda: sample("v", dist.Normal(0.0, 1.0)), lambda: sample("w", dist.Normal(3.0, 1.0)))
    sample("y", dist.Normal(v, 1.0), obs=y)


def every_site(current):
    sample("b", dist.Bernoulli(0.3 + 0.4 * current["b"]))
    sample("v", dist.Normal(current["v"], 1.0))


def selector(current):
    sample("b", dist.Bernoulli(0.3 + 0.4 * current["b"]))


PROGRAMS = {one_address: "v", two_addresses: "w"}  # and the site of the arm that runs where b is false
UPDATES = {"both change": (2.0, 1.5), "the selector alone": (1.0, -1.5)}  # the value in the other arm, and the weight
KERNELS = [kernels.mh(), kernels.mh(every_site), kernels.mh(selector)]
programs = pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)


@pytest.fixture(params=[jnp.float32, jnp.float64], ids=["float32", "float64"])
def tolerance(request):
    """How exact a weight has to be in each precision."""
    with jax.enable_x64(request.param == jnp.float64):
        yield 1e-12 if request.param == jnp.float64 else 1e-6


def there_and_back(program, value):
    return {"b": 1, "v": 1.0}, {"b": 0, PROGRAMS[program]: value}


@pytest.mark.regression("15.2a")
@programs
@pytest.mark.parametrize("update", UPDATES)
def test_the_scores_of_both_traces_differ_by_the_weight(program, update, tolerance):
    """Staged, and by the eager interpreter."""
    value, weight = UPDATES[update]
    before, after = there_and_back(program, value)
    form = lawful.trace(program, Y)
    assert float(form.log_density(after, Y) - form.log_density(before, Y)) == pytest.approx(weight, abs=tolerance)
    eager = [float(handlers.trace(handlers.replay(program, trace))(Y).log_density) for trace in (before, after)]
    assert eager[1] - eager[0] == pytest.approx(weight, abs=tolerance)


@pytest.mark.regression("15.2a")
@programs
@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("kernel", rest_slow(KERNELS), ids=repr)
def test_a_move_over_a_branch_weighs_the_difference_of_the_scores(program, update, kernel, tolerance):
    """There, and back: the two weights add up to nothing."""
    value, weight = UPDATES[update]
    transition = Transition(program, kernel, Y)
    before, after = (transition.state(trace) for trace in there_and_back(program, value))
    there, _ = transition.step(before, answers(transition, {"b": 0, "v": value, "w": value}))
    assert transition.active(there) == transition.active(after)
    assert float(there[-1] - before[-1]) == pytest.approx(weight, abs=tolerance)
    back, _ = transition.step(there, answers(transition, {"b": 1, "v": 1.0, "w": value}))
    assert transition.active(back) == transition.active(before)
    assert float(there[-1] - before[-1]) + float(back[-1] - there[-1]) == pytest.approx(0.0, abs=tolerance)


def answers(transition, values):
    """What the kernel draws: the selector moves, to these values, and is accepted."""
    given = {**values, "accept": True, "part": 0}
    return {
        address: jnp.asarray(0 if "inside" in address else given[address[-1]], site_type(transition, address))
        for address in transition.own
    }


def site_type(transition, address):
    (site,) = {site.out.dtype for site in transition.kernel.form.sites() if site.address == address}
    return site


def finite(first, second):
    """Two values in each arm, with other probabilities."""

    def program():
        b = sample("b", dist.Bernoulli(0.5))
        v = cond(b == 1, lambda: sample(first, dist.Bernoulli(0.2)), lambda: sample(second, dist.Bernoulli(0.7)))
        factor("y", -0.5 * (1.5 - v) ** 2)
        return v

    return program


FINITE = {"one address": finite("v", "v"), "two addresses": finite("v", "w")}


@pytest.mark.regression("15.2b")
@pytest.mark.tier0
@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("kernel", [kernels.mh(), kernels.mh(selector)], ids=repr)
def test_a_finite_copy_keeps_its_posterior_exactly(name, kernel):
    report = invariant(kernel, FINITE[name], irreducible=kernel == kernels.mh())
    report.raise_if_failed()
    assert report.tv < 1e-12


@pytest.mark.rest_slow
@pytest.mark.regression("15.2b")
@pytest.mark.tier0
@pytest.mark.parametrize("name", FINITE)
def test_moves_in_a_population_of_a_finite_copy_keep_its_measure_exactly(name):
    moved = inference.Trace >> inference.spawn(2) >> inference.resample("systematic") >> inference.move(kernels.mh())
    report = preserves(moved, FINITE[name], enumerator="compiled", max_paths=1 << 20)
    report.raise_if_failed()
    assert report.measure_error < 1e-12


@pytest.mark.regression("15.2c")
@pytest.mark.reference
def test_the_posterior_of_the_selector_is_the_exact_one():
    """P(b | y = 3): the evidence of an arm is that of its mean at variance 2."""
    arms = np.exp([-(3.0**2) / 4, 0.0])
    assert arms[0] / arms.sum() == pytest.approx(0.0953, abs=1e-4)
    result = inference.mcmc(one_address, chains=500, warmup=50, draws=200)(jax.random.key(152), Y)
    means = np.asarray(result.posterior["b"]).mean(axis=1)
    assert abs(means.mean() - arms[0] / arms.sum()) < 5.4 * means.std() / np.sqrt(len(means))  # once in 10^7
