"""Sites of infinitely many values: refused, or restricted to a range, and what is missing then is said."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats

import lawful
from lawful import inference
from lawful.errors import LawfulError, UnboundedSupport
from lawful.inference.graphs import FactorGraph, eliminated, to_factor_graph


def arrivals(y):
    n = lawful.sample("n", dist.Poisson(3.0))
    lawful.sample("y", dist.Normal(1.0 * n, 2.0), obs=y)


def test_a_restricted_site_has_the_sum_over_its_range():
    graph = to_factor_graph(arrivals, 2.5, truncate={"n": (1, 9)})
    n = np.arange(1, 10)
    prior = scipy.stats.poisson.logpmf(n, 3.0)
    joint = prior + scipy.stats.norm.logpdf(2.5, n, 2.0)
    found = eliminated(graph)
    assert float(found.log_z) == pytest.approx(scipy.special.logsumexp(joint), abs=1e-12)
    np.testing.assert_allclose(found.beliefs["n"], scipy.special.softmax(joint), atol=1e-12)
    assert graph.structure.families[0].states == tuple(map(str, n))
    assert graph.notes.outside["n"] == pytest.approx(1 - np.sum(np.exp(prior)), abs=1e-12)
    assert "9 states; at most 0.051 of its law is outside" in graph.summary()


@pytest.mark.rest_slow
@pytest.mark.parametrize("law", [
    dist.Geometric(0.3), dist.NegativeBinomial2(2.0, 3.0), dist.ZeroInflatedPoisson(0.2, 2.0), dist.Binomial(50, 0.1),
    dist.Poisson(jnp.array([1.0, 4.0])).to_event(1), dist.GammaPoisson(2.0, 1.0),
], ids=lambda law: type(law).__name__)  # fmt: skip
def test_laws_of_whole_numbers_can_be_restricted(law):
    graph = to_factor_graph(lambda: lawful.sample("k", law), truncate={"k": (0, 12)})
    base = law.base_dist if isinstance(law, dist.Independent) else law
    values = np.arange(13).reshape((13, *[1] * len(base.batch_shape)))
    kept = np.exp(jax.jit(type(base).log_prob)(base, values)).sum(axis=0)
    assert float(eliminated(graph).log_z) == pytest.approx(np.sum(np.log(kept)), abs=1e-12)
    assert graph.notes.outside["k"] == pytest.approx(np.max(1 - kept), abs=1e-12)


def thinned(seen):
    """The number of trials is a variable itself, so no list of values is known before the program runs."""
    n = lawful.sample("n", dist.Binomial(5, 0.4))
    k = lawful.sample("k", dist.Binomial(n, 0.3))
    lawful.sample("seen", dist.Normal(1.0 * k, 1.0), obs=seen)


def test_values_outside_the_support_of_a_law_have_no_mass():
    graph = to_factor_graph(thinned, 1.0, truncate={"k": (-1, 6)})
    k = np.arange(6)
    truth = scipy.special.logsumexp(scipy.stats.binom.logpmf(k, 5, 0.12) + scipy.stats.norm.logpdf(1.0, k, 1.0))
    assert float(eliminated(graph).log_z) == pytest.approx(truth, abs=1e-12)
    assert graph.notes.outside["k"] <= 1e-12


def test_a_restricted_site_of_a_loop_has_the_mass_of_each_step():
    def program():
        def step(n, _):
            n = lawful.sample("n", dist.Poisson(1.0 + 0.5 * n))
            return n, None

        lawful.scan(step, jnp.array(0), None, length=6)

    graph = to_factor_graph(program, truncate={"n": (0, 20)})
    assert [(f.name, f.shape, f.cardinality) for f in graph.structure.families] == [("n", (6,), 21)]
    table, weights = scipy.stats.poisson.pmf(np.arange(21), 1.0 + 0.5 * np.arange(21)[:, None]), np.eye(21)[0]
    for _ in range(6):
        weights = weights @ table
    assert float(eliminated(graph).log_z) == pytest.approx(np.log(weights.sum()), abs=1e-12)
    assert graph.notes.outside["n"] == pytest.approx(1 - table[-1].sum(), abs=1e-12)


def test_a_site_of_infinitely_many_values_is_refused_and_says_how_to_go_on():
    with pytest.raises(
        UnboundedSupport, match=r"site 'n' \(.*test_supports.py:\d+\): Poisson has infinitely many"
    ) as error:
        to_factor_graph(arrivals, 2.5)
    assert "truncate={'n': (0, 50)}" in str(error.value)
    with pytest.raises(UnboundedSupport, match="site 'k'.*Binomial"):
        to_factor_graph(thinned, 1.0, sites=["k"], given={"n": 3})
    assert to_factor_graph(arrivals, 2.5, given={"n": 2}).structure.size == 0


def test_ranges_are_checked():
    with pytest.raises(LawfulError, match="truncate: m: no latent site of whole numbers. These are: n"):
        to_factor_graph(arrivals, 2.5, truncate={"m": (0, 3)})
    with pytest.raises(
        LawfulError, match=r"truncate: n: expected \(lowest, highest\), at most 1048576 values, got \(3, 2\)"
    ):
        to_factor_graph(arrivals, 2.5, truncate={"n": (3, 2)})


def test_bp_restricts_too_and_a_file_keeps_the_note(tmp_path):
    plan = inference.bp(arrivals, truncate={"n": (0, 30)})
    graph = plan.graph(2.5)
    assert float(plan.beliefs(2.5).log_evidence) == pytest.approx(float(eliminated(graph).log_z), abs=1e-13)
    graph.save(tmp_path / "graph.npz")
    assert FactorGraph.load(tmp_path / "graph.npz").notes.outside == graph.notes.outside
