"""Masks and scales: what is masked out has no influence, and a scale is a power, element by element."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import factor, handlers, inference, mask, plate, sample, scale, scan
from lawful.errors import ImproperPriorError, LawfulError, UnsupportedProgramError
from lawful.inference.check import compare, enumerate_measure
from lawful.inference.check.exact.outcomes import compiled_measure, source

KEY = jax.random.key(3)
MASK = np.array([True, False, True])
DATA = np.array([0.5, 9.0, -1.0])


def both_densities(program, choices, *args):
    eager = float(handlers.log_density(program, choices)(*args))
    staged = float(lawful.trace(program, *args).log_density(choices, *args))
    assert eager == pytest.approx(staged, rel=1e-12)
    return staged


def masked(y, m):
    mu = sample("mu", dist.Normal(0.0, 1.0))
    with plate("row", 3), mask(m):
        sample("y", dist.Normal(mu, 1.0), obs=y)
        factor("f", mu * jnp.where(m, y, 0.0))


def test_masked_elements_count_as_deleted():
    def deleted(y):
        mu = sample("mu", dist.Normal(0.0, 1.0))
        with plate("row", 2):
            sample("y", dist.Normal(mu, 1.0), obs=y)
            factor("f", mu * y)

    found = both_densities(masked, {"mu": 0.3}, DATA, MASK)
    assert found == pytest.approx(both_densities(deleted, {"mu": 0.3}, DATA[MASK]), rel=1e-12)


@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e30, 0.0])
def test_masked_data_change_no_bit_of_value_or_gradient(junk):
    form = lawful.trace(masked, DATA, MASK)

    def density(mu, y):
        return form.log_density({"mu": mu}, y, MASK)

    spoilt = np.where(MASK, DATA, junk)
    for derivative in (lambda f: f, lambda f: jax.grad(f, argnums=0)):
        assert derivative(density)(0.3, DATA) == derivative(density)(0.3, spoilt)
    rows = jax.grad(lambda y: form.log_density({"mu": 0.3}, y, MASK))(jnp.asarray(spoilt))
    assert np.isfinite(rows).all() and rows[1] == 0.0


def test_a_mask_may_depend_on_a_choice_and_on_other_masks():
    def model(y):
        good = sample("good", dist.Bernoulli(0.9))
        with mask(good == 1), plate("row", 3), mask(MASK):
            sample("y", dist.Normal(0.0, 1.0), obs=y)

    normal = dist.Normal(0.0, 1.0).log_prob(DATA[MASK]).sum()
    assert both_densities(model, {"good": 1}, DATA) == pytest.approx(float(np.log(0.9) + normal), rel=1e-12)
    assert both_densities(model, {"good": 0}, DATA) == pytest.approx(np.log(0.1), rel=1e-12)


def test_a_scale_is_a_power_and_scales_multiply():
    def model(y, s):
        x = sample("x", dist.Normal(0.0, 1.0))
        with scale(s), plate("row", 3), scale(np.array([1.0, 2.0, 3.0])):
            sample("y", dist.Normal(x, 1.0), obs=y)
            factor("f", y)

    terms = dist.Normal(0.2, 1.0).log_prob(DATA) + DATA
    expected = dist.Normal(0.0, 1.0).log_prob(0.2) + 0.5 * (terms * np.array([1.0, 2.0, 3.0])).sum()
    assert both_densities(model, {"x": 0.2}, DATA, 0.5) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.kills("41b")
def test_a_scaled_choice_has_the_power_of_its_density():
    def model(s):
        with scale(s), plate("row", 2):
            k = sample("k", dist.Categorical(probs=jnp.array([0.5, 0.25, 0.25, 0.0])))
        factor("f", 0.1 * k.sum())

    choices = {"k": np.array([0, 2])}
    assert both_densities(model, choices, 3.0) == pytest.approx(3 * np.log(0.125) + 0.2, rel=1e-12)
    assert both_densities(model, {"k": np.array([0, 3])}, 3.0) == -np.inf
    truth = enumerate_measure(model, 3.0)
    assert truth.total() == pytest.approx(
        (np.array([0.5, 0.25, 0.25]) ** 3 * np.exp([0, 0.1, 0.2])).sum() ** 2, rel=1e-12
    )
    recorded, layout = source(lawful.trace(model, 3.0))
    assert compare(compiled_measure(recorded.form, layout, [jnp.asarray(3.0)]), truth).error <= 1e-12


def test_a_masked_choice_is_made_with_density_one():
    def model():
        with mask(False):
            return sample("k", dist.Categorical(probs=jnp.array([0.7, 0.2, 0.1])))

    exact = inference.enumerate(model)()
    assert np.exp(exact.log_evidence) == pytest.approx(3.0, rel=1e-12)
    assert exact.marginal("k") == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3}, rel=1e-12)
    form = lawful.trace(lambda: handlers.mask(lambda: sample("x", dist.Beta(2.0, 3.0)), False)())
    assert float(form.log_density({"x": 0.3})) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("law", [dist.Normal(0.0, 1.0), dist.Gamma(2.0, 1.0), dist.Poisson(2.0)])
def test_a_mask_never_makes_a_measure_of_infinite_mass(law):
    def model(m):
        with mask(m):
            return sample("x", law)

    for program in (lambda: model(False), lambda: model(np.array(False))):
        with pytest.raises(ImproperPriorError, match=r"site 'x' .*infinite measure.*Fix:.*lawful\.cond"):
            handlers.seed(program, KEY)()
    handlers.seed(model, KEY)(True)


def test_conditioning_inside_a_mask_weighs_the_data():
    def model():
        with scale(2.0), plate("row", 3), mask(MASK):
            sample("y", dist.Normal(0.0, 1.0))

    program = handlers.condition(model, {"y": np.where(MASK, DATA, np.nan)})
    expected = 2 * float(dist.Normal(0.0, 1.0).log_prob(DATA[MASK]).sum())
    assert float(handlers.trace(program)().log_density) == pytest.approx(expected, rel=1e-12)
    assert float(lawful.trace(program).log_density({})) == pytest.approx(expected, rel=1e-12)


def test_what_a_mask_adds_to_a_choice_is_hidden_with_it():
    def model():
        with scale(2.0):
            sample("x", dist.Normal(0.0, 1.0))
            sample("z", dist.Normal(0.0, 1.0))

    run = handlers.trace(handlers.block(handlers.seed(model, KEY), ["x"]))()
    assert list(run.log_probs) == [("z",), ("z", "weight")]
    assert float(run.log_prior) == pytest.approx(2 * float(run.log_probs[("z",)]), rel=1e-12)


def test_masks_reach_into_loops_and_called_programs():
    def part(y):
        sample("y", dist.Normal(0.0, 1.0), obs=y)

    def model(ys, ms):
        def step(carry, data):
            y, m = data
            handlers.mask(part, m)(y)
            return carry, None

        with scale(0.5):
            scan(step, 0.0, (ys, ms))

    expected = 0.5 * float(dist.Normal(0.0, 1.0).log_prob(DATA[MASK]).sum())
    assert both_densities(model, {}, np.where(MASK, DATA, np.nan), MASK) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("enter", "message"),
    [
        (lambda: mask(np.array([1, 0])), r"mask .*truth values, got int.*mask == 1"),
        (lambda: scale(-1.0), r"scale .*positive numbers, got -1\.0.*lawful\.mask"),
        (lambda: scale(0.0), "positive numbers"),
        (lambda: scale(True), "positive numbers"),
    ],
)
def test_masks_are_truth_values_and_scales_are_positive(enter, message):
    with pytest.raises(LawfulError, match=message), enter():
        pass


@pytest.mark.parametrize("statement", ["choice", "observation", "factor"])
def test_a_mask_fits_the_batch(statement):
    def model():
        with mask(np.array([True, False])):
            if statement == "factor":
                factor("x", np.zeros(3))
            else:
                sample("x", dist.Bernoulli(0.5 * np.ones(3)), obs=np.ones(3, int) if statement != "choice" else None)

    with pytest.raises(LawfulError, match=r"'x' .*mask of shape \(2,\) does not fit.*\(3,\).*Fix:"):
        handlers.seed(model, KEY)()


def test_a_form_cannot_run_inside_a_plate_that_it_does_not_know():
    form = lawful.trace(lambda: sample("x", dist.Bernoulli(0.5)))

    def rows():
        with plate("row", 2):
            form()

    with pytest.raises(UnsupportedProgramError, match="inside the plate 'row'.*drawn once.*Fix: open the plate"):
        lawful.trace(rows)


def test_a_form_cannot_be_masked_from_outside():
    form = lawful.trace(lambda: factor("f", 1.0))
    with pytest.raises(UnsupportedProgramError, match="Form is run inside"):
        handlers.trace(handlers.mask(form, False))()


def test_smc_and_mcmc_see_the_weights():
    def model(y):
        x = sample("x", dist.Bernoulli(0.5))
        with scale(2.0), plate("row", 3), mask(MASK):
            sample("y", dist.Normal(1.0 * x, 1.0), obs=y)

    y = np.where(MASK, DATA, np.nan)
    exact = inference.enumerate(model)(y)
    result = inference.importance(model, particles=4096, runs=4)(KEY, y)
    assert result.log_evidence_pooled == pytest.approx(exact.log_evidence, abs=0.05)


def test_a_mask_of_jax_that_is_known_can_stand_around_a_choice():
    """Inside a trace an operation on an array of JAX that is known is traced as well, so NumPy has to read it."""
    known = jnp.array([True, False])

    def masked():
        with mask(known), plate("row", 2):
            sample("x", dist.Bernoulli(0.3))

    form = lawful.trace(masked)
    assert float(form.log_density({"x": np.array([1, 1])})) == pytest.approx(np.log(0.3), abs=1e-12)
    with mask(known[0]):
        empty = handlers.seed(
            lambda: scan(lambda c, _: (c, sample("x", dist.Bernoulli(0.3))), 0, None, length=0), KEY
        )()
    assert empty[1].shape == (0,)
