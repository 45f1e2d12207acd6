"""Atoms agree with the distributions' own supports and scores, element by element."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful.errors import LawfulError, NonFiniteError, UnsupportedProgramError
from lawful.inference.eager.atoms import finite_site, probabilities_at, rational

P = np.array([[0.2, 0.3, 0.5], [0.0, 0.25, 0.75]])
SCALAR = {
    "bernoulli": dist.Bernoulli(probs=0.3),
    "bernoulli logits": dist.Bernoulli(logits=-1.5),
    "categorical": dist.Categorical(probs=P[0]),
    "categorical logits": dist.Categorical(logits=np.array([0.0, 1.0, -np.inf]), validate_args=False),
    "uniform": dist.DiscreteUniform(2, 5),
    "binomial": dist.Binomial(4, probs=0.3),
    "binomial logits": dist.Binomial(3, logits=0.7),
    "generic": dist.BetaBinomial(2.0, 3.0, 4),
}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", SCALAR)
def test_atoms_of_a_scalar_are_its_support_with_its_probabilities(name):
    distribution = SCALAR[name]
    (atoms,) = finite_site(distribution, name).elements
    scores = np.exp(np.asarray(distribution.log_prob(jnp.asarray(atoms.values)), float))
    assert np.allclose(atoms.probabilities, scores, rtol=1e-12, atol=0)
    assert sum(atoms.probabilities) == pytest.approx(1, abs=1e-12)
    assert all(p > 0 for p in atoms.probabilities)


@pytest.mark.parametrize("name", SCALAR)
def test_an_observed_value_has_the_probability_of_its_atom(name):
    distribution = SCALAR[name]
    (atoms,) = finite_site(distribution, name).elements
    found = [probabilities_at(distribution, value, name) for value in atoms.values]
    if name == "generic":
        assert found == [None] * len(found)
    else:
        assert [p for (p,) in found] == list(atoms.probabilities)
        assert probabilities_at(distribution, 17, name) == [0.0]


@pytest.mark.parametrize(
    "distribution",
    [
        dist.Categorical(probs=P),
        dist.Categorical(probs=P).to_event(1),
        dist.Bernoulli(probs=np.array([0.1, 0.9])),
        dist.Bernoulli(probs=0.3).expand((2,)),
        dist.Bernoulli(probs=0.3).expand((2,)).to_event(1),
        dist.Bernoulli(probs=np.array([0.1, 0.9])).to_event(1).expand((3,)),
        dist.DiscreteUniform(np.array([0, 3]), np.array([1, 5])),
        dist.Binomial(np.array([1, 3]), probs=0.4),
    ],
)
def test_batches_are_products_of_their_elements(distribution):
    site = finite_site(distribution, "x")
    assert len(site.elements) == np.prod(distribution.shape())
    value = site.assemble([atoms.values[-1] for atoms in site.elements])
    assert value.shape == distribution.shape()
    joint = np.prod([atoms.probabilities[-1] for atoms in site.elements])
    assert joint == pytest.approx(float(np.exp(distribution.log_prob(value).sum())), rel=1e-12)
    assert np.prod(probabilities_at(distribution, value, "x")) == pytest.approx(joint, rel=1e-12)


def test_an_empty_batch_has_one_value():
    site = finite_site(dist.Bernoulli(probs=0.5).expand((0,)), "x")
    assert site.elements == []
    assert site.assemble([]).shape == (0,)


def test_a_point_mass_is_one_atom():
    site = finite_site(dist.Delta(np.array([1.0, 2.0]), event_dim=1), "x")
    assert site.elements[0].probabilities == [1.0]
    assert site.assemble([site.elements[0].values[0]]).tolist() == [1.0, 2.0]


def test_an_object_may_list_its_own_choices():
    class Ancestors:
        def enumerate_choices(self):
            return [(0, 0), (0, 1), (1, 1)], [Fraction(1, 4), Fraction(0), Fraction(3, 4)]

    (atoms,) = finite_site(Ancestors(), "a").elements
    assert atoms.values == [(0, 0), (1, 1)]
    assert atoms.probabilities == [Fraction(1, 4), Fraction(3, 4)]


@pytest.mark.parametrize("distribution", [dist.Normal(0.0, 1.0), dist.Poisson(3.0), dist.Dirichlet(np.ones(3))])
def test_what_is_not_finite_is_refused_by_name(distribution):
    with pytest.raises(
        UnsupportedProgramError, match="site x.*not finite: give breakpoints, or use level='statistical'"
    ):
        finite_site(distribution, "site x")


def test_masked_choices_are_refused():
    with pytest.raises(UnsupportedProgramError, match="masked"):
        finite_site(dist.Bernoulli(probs=0.5).mask(False), "x")


@pytest.mark.parametrize("p", [np.nan, -0.5])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(NonFiniteError, match="site x"):
        finite_site(dist.Categorical(probs=np.array([p, 0.5]), validate_args=False), "site x")


def test_a_site_without_a_possible_value_is_refused():
    with pytest.raises(LawfulError, match="are no probabilities"):
        finite_site(dist.Categorical(probs=np.zeros(2), validate_args=False), "x")


def test_small_fractions_survive_floats():
    for denominator in range(1, 13):
        for numerator in range(denominator + 1):
            assert rational(numerator / denominator) == Fraction(numerator, denominator)
    assert rational(0.1234567890123) == Fraction(0.1234567890123)
    assert rational(1e-300) == Fraction(1e-300)


@pytest.mark.parametrize(
    "family, p", [("Categorical", [1.25, 1.25]), ("Categorical", [-0.5, 1.5]), ("Bernoulli", 1.25)]
)
def test_what_makes_no_law_has_no_probabilities_drawn_or_observed(family, p):
    law = getattr(dist, family)(np.asarray(p), validate_args=False)
    with pytest.raises(NonFiniteError, match=r"site.*are no probabilities, which lie in 0..1 and sum to 1"):
        finite_site(law, "site")
    with pytest.raises(NonFiniteError, match="are no probabilities"):
        probabilities_at(law, 1, "site")
