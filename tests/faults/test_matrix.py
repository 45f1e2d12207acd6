"""The rows about numbers, in every mode, in both precisions, under every algorithm they concern.

Each row has a file of its own for what it promises in detail. Here stands what must not depend on how a program is run:
the same fault is made in one program for all, and its outcome is asked in each combination. `docs/faults.md` has the
table.
"""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, handlers, inference, sample, scan
from lawful.errors import NoFiniteStartError, NonFiniteError, SingularScaleError
from lawful.inference import Status, kernels
from tests.schemes import SCHEMES
from tests.tiers import rest_slow

KEY = jax.random.key(22)
VALUES = {"nan": np.nan, "+inf": np.inf, "-inf": -np.inf}
PRECISIONS = {"float32": False, "float64": True}
LANES, BAD = 3, 1


def straight(bad):
    x = sample("x", dist.Normal(0.0, 1.0))
    factor("weight", -0.3 * x**2 + bad)


def looped(bad):
    """The fault comes in the second of three steps."""

    def step(x, t):
        x = sample("x", dist.Normal(0.5 * x, 1.0))
        factor("weight", -0.3 * x**2 + jnp.where(t == 1, bad, 0.0))
        return x, None

    scan(step, 0.0, jnp.arange(3))


def mapped(bad):
    """The fault comes in one lane of a map inside the program."""

    def lane(t):
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("weight", -0.3 * x**2 + jnp.where(t == BAD, bad, 0.0))

    jax.vmap(lane)(jnp.arange(LANES))


PROGRAMS = {"straight": straight, "scan": looped, "vmap": mapped}
OFTEN_SEEN = [("scan", "nan", "float32"), ("straight", "+inf", "float64"), ("vmap", "-inf", "float32")]
CASES = [(program, value, precision) for precision in PRECISIONS for program in PROGRAMS for value in VALUES]


def same(found, value):
    """Whether a density is the fault itself: a fault is neither hidden nor turned into another one."""
    return np.isnan(found) if np.isnan(value) else float(found) == value


@pytest.mark.parametrize(
    ("program", "value", "precision"),
    rest_slow([*OFTEN_SEEN, *(case for case in CASES if case not in OFTEN_SEEN)], len(OFTEN_SEEN)),
)
def test_a_density_shows_a_fault_in_every_mode_and_lanes_without_it_do_not_notice(program, value, precision):
    """Rows 1 to 4, 37 and 38, of densities: eager, compiled, and compiled over lanes, one of which has the fault."""
    with jax.enable_x64(PRECISIONS[precision]):
        model, bad = PROGRAMS[program], jnp.asarray(VALUES[value], precision)
        form = lawful.trace(model, jnp.zeros_like(bad))
        x = np.random.default_rng(0).normal(size=() if program == "straight" else LANES).astype(precision)
        choices = {"x": jnp.asarray(x)}
        if program != "vmap":  # whose lanes a handler cannot tell apart
            eager = handlers.trace(handlers.substitute(model, choices))(bad).log_density
            assert same(eager, VALUES[value])
        density = jax.jit(lambda bad: form.log_density(choices, bad))
        assert same(density(bad), VALUES[value]) and np.isfinite(density(jnp.zeros_like(bad)))
        lanes = jax.jit(jax.vmap(lambda bad: form.log_density(choices, bad)))
        clean = np.asarray(lanes(jnp.zeros(LANES, precision)))
        found = np.asarray(lanes(jnp.zeros(LANES, precision).at[BAD].set(bad)))
        assert clean.dtype == found.dtype == precision
        assert same(found[BAD], VALUES[value])
        np.testing.assert_array_equal(np.delete(found, BAD), np.delete(clean, BAD))


def coin(bad):
    """A finite program with the same factor."""
    x = sample("x", dist.Bernoulli(0.5))
    factor("weight", -0.3 * x + bad)


def walk(kernel):
    return lambda model: inference.mcmc(model, kernel, chains=2, warmup=2, draws=4)


POPULATIONS = {
    "importance": lambda model: inference.importance(model, particles=4),
    **{name: (lambda model, name=name: inference.smc(model, particles=4, resampling=name)) for name in SCHEMES},
    "tempered smc": lambda model: inference.tempered_smc(model, particles=4),
}
CHAINS = {
    "random walk": walk(kernels.random_walk(0.5)),
    "mh": walk(kernels.mh()),
    "hmc": walk(kernels.hmc(0.2, 3)),
    "nuts": walk(kernels.nuts(0.2)),
    "particle Gibbs": lambda model: inference.particle_gibbs(model, "x", particles=3, chains=2, warmup=2, draws=4),
}
METHODS = POPULATIONS | CHAINS
OFTEN = [("systematic", "nan"), ("random walk", "nan")]


def outcome(method, value):
    """The promise: an error that names the factor; zero weight alone is no error of a population, and flagged."""
    if method in CHAINS:
        return pytest.raises(NoFiniteStartError, match="weight")
    return nullcontext() if value == "-inf" else pytest.raises(NonFiniteError, match="'weight'")


@pytest.mark.parametrize(
    ("method", "value"),
    rest_slow(
        [
            *OFTEN,
            *((m, v) for m in METHODS for v in VALUES if (m, v) not in OFTEN and (v == "nan" or m not in SCHEMES[:3])),
        ],
        len(OFTEN),
    ),
)
@pytest.mark.usefixtures("single_precision")
def test_no_algorithm_runs_past_a_weight_that_is_no_number(method, value):
    """Rows 2, 3, 4, 6, 37 and 38: where no value of the choices has a density, no algorithm gives a number for one."""
    plan = METHODS[method](looped)
    with outcome(method, value):
        result = plan(KEY, jnp.asarray(VALUES[value]))
        assert result.log_evidence.tolist() == [-np.inf]
        assert not result.ok and result.status & Status.DEAD


def beliefs(model):
    return inference.bp(model).beliefs


@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["enumerate", "bp"])
@pytest.mark.parametrize("value", VALUES)
def test_no_exact_sum_runs_past_a_weight_that_is_no_number(method, value, precision):
    with jax.enable_x64(PRECISIONS[precision]):
        plan = {"enumerate": inference.enumerate, "bp": beliefs}[method](coin)
        with nullcontext() if value == "-inf" else pytest.raises(NonFiniteError, match="weight"):
            assert float(plan(jnp.asarray(VALUES[value], precision)).log_evidence) == -np.inf


def point(sd):
    def step(x, _):
        x = sample("x", dist.Normal(x, sd))
        return x, factor("weight", -0.3 * x**2)

    scan(step, 0.0, length=2)


@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_every_algorithm_refuses_a_scale_of_zero(method, precision):
    """Row 12."""
    with jax.enable_x64(PRECISIONS[precision]), pytest.raises(SingularScaleError, match="'x'.*scale is 0"):
        METHODS[method](point)(KEY, jnp.asarray(0.0, precision))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tempered smc", *CHAINS])
def test_an_offset_of_all_weights_changes_no_draw(method):
    """Row 48, of the algorithms that its own file leaves out."""
    plan = METHODS[method](looped)
    plain = plan(KEY, 0.0)
    for offset in (1e4, -1e4):
        moved = plan(KEY, offset)
        np.testing.assert_allclose(moved.posterior["x"], plain.posterior["x"], rtol=1e-7)
        if method in POPULATIONS:
            np.testing.assert_allclose(moved.log_evidence - offset, plain.log_evidence, atol=1e-9)


@pytest.mark.parametrize("method", ["enumerate", "bp"])
def test_an_offset_changes_an_exact_sum_by_itself(method):
    plan = {"enumerate": inference.enumerate, "bp": beliefs}[method](coin)
    plain = float(plan(0.0).log_evidence)
    for offset in (1e4, -1e4):
        assert float(plan(offset).log_evidence) - offset == pytest.approx(plain, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kernel", [kernels.hmc(0.4, 3), kernels.nuts(0.5), kernels.mala(0.8)], ids=repr)
def test_a_move_past_the_edge_of_the_numbers_is_counted_in_both_precisions(kernel, precision):
    """Rows 1 and 30: a density that is NaN beyond 1 rejects and is counted, and no draw lies there."""

    def edge():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("edge", jnp.where(x > 1.0, jnp.nan, 0.0))

    with jax.enable_x64(PRECISIONS[precision]):
        result = inference.mcmc(edge, kernel, chains=8, warmup=0, draws=50, init={"x": np.zeros(8, precision)})(KEY)
        assert (result.posterior["x"] <= 1.0).all()
        assert result.stats["n_nonfinite"].sum() > 0 and result.status & Status.NONFINITE_DENSITY


EAGER = {
    "importance": lambda model: inference.importance(model, particles=4, mode="eager"),
    "smc": lambda model: inference.smc(model, particles=4, mode="eager"),
    "mcmc": lambda model: inference.mcmc(model, chains=2, warmup=2, draws=4, mode="eager"),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", EAGER)
@pytest.mark.parametrize("value", VALUES)
def test_no_eager_algorithm_runs_past_a_weight_that_is_no_number(method, value, precision):
    """Rows 2, 3, 4, 6, 37 and 38, without tracing."""
    empty = value == "-inf"
    refused = nullcontext() if empty and method != "mcmc" else pytest.raises((NonFiniteError, NoFiniteStartError))
    with jax.enable_x64(PRECISIONS[precision]), refused as caught:
        result = EAGER[method](straight)(KEY, jnp.asarray(VALUES[value], precision))
        assert result.log_evidence.tolist() == [-np.inf] and result.status & Status.DEAD
    assert caught is None or "weight" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kernel", [kernels.hmc(0.4, 3), kernels.nuts(0.5), kernels.mala(0.8)], ids=repr)
def test_a_move_to_where_there_is_no_gradient_is_counted_in_both_precisions(kernel, precision):
    """Row 30: beyond 1 the density is a number, and the gradient of an arm that is not taken is none."""

    def cliff():
        x = sample("x", dist.Normal(0.0, 1.0))
        factor("cliff", jnp.where(x > 1.0, 0.0, jnp.sqrt(jnp.maximum(1.0 - x, 0.0)) - 1.0))

    with jax.enable_x64(PRECISIONS[precision]):
        result = inference.mcmc(cliff, kernel, chains=8, warmup=0, draws=50, init={"x": np.zeros(8, precision)})(KEY)
    assert (result.posterior["x"] <= 1.0).all()
    assert result.stats["n_nonfinite_grad"].sum() > 0 and result.stats["n_nonfinite"].sum() == 0
