"""What is added most often is added in one place, of at most 30 lines: a primitive, a family, a pass.

`docs/architecture.md` shows these files. Nothing of them stands in the library.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers
from lawful.form import walk
from lawful.form.operations.equation import Equation
from lawful.form.operations.on_numpy import evaluate
from lawful.inference import check
from tests.additions.constants import folded_constants
from tests.additions.family import Event
from tests.additions.primitive import formula, smooth_step, smooth_step_p


@pytest.mark.parametrize("name", ["primitive", "family", "constants"])
def test_an_addition_takes_at_most_30_lines(name):
    text = (Path(__file__).parent / f"{name}.py").read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 30


# A primitive.


def steps():
    with lawful.plate("element", 3):
        x = lawful.sample("x", dist.Bernoulli(jnp.array([0.2, 0.5, 0.9])))
    lawful.factor("heights", smooth_step(0.3 + 0.4 * x).sum())
    return x


def test_a_new_primitive_means_the_same_eagerly_and_compiled():
    """The eager enumeration is by NumPy, the compiled one by XLA."""
    report = check.preserves(lambda form: form, steps)
    assert report.passed and report.measure_error < 1e-12
    x = np.linspace(0.0, 1.0, 7)
    (eager,) = evaluate(Equation(smooth_step_p, {}, (None,), False), [x])
    assert type(eager) is np.ndarray
    np.testing.assert_allclose(eager, jax.jit(smooth_step)(x), rtol=1e-12)


def test_an_element_of_a_new_primitive_reads_the_same_element():
    read = Equation(smooth_step_p, {}, (None,), False).axes_read([(4, 5)], (4, 5), 1)
    x = jnp.linspace(0.0, 1.0, 20).reshape(4, 5)
    assert read == (1,)
    np.testing.assert_allclose(smooth_step(x[:, 2:3]), smooth_step(x)[:, 2:3], rtol=1e-12)


def test_a_density_has_its_gradient_through_a_new_primitive():
    def model():
        lawful.factor("height", smooth_step(lawful.sample("x", dist.Normal(0.0, 1.0))))

    slope = jax.grad(lambda x: lawful.trace(model).log_density({"x": x}))(0.3)
    expected = jax.grad(lambda x: dist.Normal(0.0, 1.0).log_prob(x) + formula(x))(0.3)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)


# A family.


def survival(log_hazard):
    first = lawful.sample("first", Event(log_hazard))
    with lawful.plate("after", 2):
        later = lawful.sample("later", Event(log_hazard + first))
    lawful.sample("seen", Event(log_hazard - later.sum()), obs=1)
    return first, later


@pytest.mark.parametrize("log_hazard", [-1.0, 0.5])
def test_sites_of_a_new_family_have_one_measure_eagerly_and_compiled(log_hazard):
    report = check.preserves(lambda form: form, survival, log_hazard)
    assert report.passed and report.measure_error < 1e-12


@pytest.mark.parametrize(("log_hazard", "score", "slope"), [(-800.0, -800.0, 1.0), (800.0, 0.0, 0.0)])
def test_the_density_of_a_new_family_is_stable(log_hazard, score, slope):
    """Its own density is -inf, or without a gradient, where events are rare, or sure."""

    def model(eta):
        lawful.sample("y", Event(eta), obs=1)

    found = jax.value_and_grad(lambda eta: lawful.trace(model, eta).log_density({}, eta))(log_hazard)
    np.testing.assert_allclose(found, (score, slope), rtol=1e-12)
    plain = jax.value_and_grad(lambda eta: Event(eta).log_prob(1))(log_hazard)
    assert not np.allclose(plain, (score, slope), equal_nan=False)


def test_draws_of_a_new_family_follow_its_density():
    """A fixed key; the share of events is off by 5 standard errors once in 1.7 million keys."""
    n, p = 20_000, 1 - np.exp(-np.exp(-1.0))

    def many():
        with lawful.plate("case", n):
            return lawful.sample("y", Event(-1.0))

    drawn = handlers.seed(many, jax.random.key(0))()
    assert abs(np.mean(drawn) - p) < 5 * np.sqrt(p * (1 - p) / n)


# A pass.


def with_constants():
    table = jnp.exp(jnp.zeros(2)) / 4 + jnp.arange(2) / 4
    x = lawful.sample("x", dist.Bernoulli(table[0]))
    y, _ = lawful.scan(lambda y, _: (lawful.sample("y", dist.Bernoulli(table[1] / (1 + y))), None), x, None, length=2)
    return y


def test_a_new_pass_keeps_the_measure():
    """On random finite programs, and on one that it changes."""
    assert check.preserves(folded_constants, instances=4).passed
    report = check.preserves(folded_constants, with_constants)
    assert report.passed and report.measure_error < 1e-12
    form = lawful.trace(with_constants)
    assert len(list(walk(folded_constants(form)))) < len(list(walk(form)))
