"""Numbers of trials may be traced, drawn, or different in each row: what NumPyro keeps as structure is a parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import UndrawableError

COUNTS = np.array([[1, 3, 0], [2, 2, 5], [0, 0, 0]])
PROBS = np.array([0.2, 0.5, 0.3])


@pytest.fixture(autouse=True)
def in_64_bits():
    with jax.enable_x64(True):
        yield


LAWS = {
    "probabilities": (lambda total: dist.Multinomial(total, PROBS), stats.multinomial),
    "logits": (lambda total: dist.Multinomial(total, logits=np.log(PROBS)), stats.multinomial),
    "Dirichlet": (lambda total: dist.DirichletMultinomial(PROBS, total), stats.dirichlet_multinomial),
}
WRAPS = {
    "plain": lambda law: law,
    "one event": lambda law: law.to_event(1),
    "repeated": lambda law: law.expand([2, 3]),
    "masked": lambda law: law.mask(np.array([True, True, False])),
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("form", ["traced", "array"])
def test_each_row_has_its_own_number_of_trials(kind, wrap, form):
    law, reference = LAWS[kind]

    def program(counts):
        total = jnp.sum(counts, -1) if form == "traced" else COUNTS.sum(-1)
        lawful.sample("y", WRAPS[wrap](law(total)), obs=jnp.stack([counts] * 2) if wrap == "repeated" else counts)

    of = "alpha" if kind == "Dirichlet" else "p"
    logs = [reference(n=row.sum(), **{of: PROBS}).logpmf(row) for row in COUNTS[:2]]
    plan = inference.importance(program, particles=2)
    for key in (0, 1):  # the second finds the law that the first has remembered
        found = plan(jax.random.key(key), jnp.array(COUNTS)).log_evidence
        assert np.allclose(found, sum(logs) * (2 if wrap == "repeated" else 1), rtol=0, atol=1e-12)


def test_the_number_of_trials_may_be_drawn():
    def program(counts):
        total = lawful.sample("total", dist.Categorical(jnp.array([0.1, 0.2, 0.3, 0.4])))
        lawful.sample("y", dist.Multinomial(total, PROBS, total_count_max=3), obs=counts)

    found = inference.enumerate(program)(jnp.array([1, 1, 0]))
    assert abs(found.log_evidence - np.log(0.3) - stats.multinomial(2, PROBS).logpmf([1, 1, 0])) < 1e-12


def test_labels_that_choose_the_law_of_a_row_are_summed():
    def program(counts):
        with lawful.plate("row", 3):
            z = lawful.sample("z", dist.Bernoulli(0.3))
            lawful.sample(
                "y", dist.DirichletMultinomial((1 + 4 * z)[..., None] * PROBS, jnp.sum(counts, -1)), obs=counts
            )

    counts = jnp.array(COUNTS)
    found = inference.enumeration(lawful.trace(program, counts), "all").marginal.log_density({}, counts)
    of = lambda scale: np.array([stats.dirichlet_multinomial(scale * PROBS, row.sum()).pmf(row) for row in COUNTS])
    assert np.allclose(found, np.log(0.7 * of(1) + 0.3 * of(5)).sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LAWS)
def test_drawn_counts_have_their_numbers_of_trials(kind):
    totals = np.array([4, 9, 0])
    plan = inference.importance(lambda: lawful.sample("y", LAWS[kind][0](totals)), particles=50)
    for key in (0, 1):
        drawn = np.asarray(plan(jax.random.key(key)).posterior["y"])
        assert (drawn.sum(-1) == totals).all() and len(np.unique(drawn[..., 1, 0])) > 3


def test_a_draw_without_a_bound_of_the_number_of_trials_asks_for_it():
    def program(total):
        lawful.sample("y", dist.Multinomial(total, PROBS))

    with pytest.raises(UndrawableError, match=r"site 'y'.*test_hidden.*no bound.*total_count_max"):
        inference.importance(program, particles=2)(jax.random.key(0), jnp.array([1, 2]))
