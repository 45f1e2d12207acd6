"""Both ways to write the schools denote one posterior; item responses have the evidence of their integrals."""

import jax.numpy as jnp
import numpy as np
from scipy.special import expit
from scipy.stats import halfcauchy, lognorm, norm

import lawful
from lawful.models import hierarchical
from tests.models.truth import grid_evidence

Y, SIGMA = hierarchical.SCHOOLS


def test_the_two_parametrisations_differ_by_their_jacobian():
    rng = np.random.default_rng(5)
    centred, standard = (
        lawful.trace(f, Y, SIGMA) for f in (hierarchical.eight_schools, hierarchical.eight_schools_noncentered)
    )
    for _ in range(3):
        mu, tau, z = rng.normal(), rng.exponential() + 0.1, rng.normal(size=8)
        one = float(centred.log_density({"mu": mu, "tau": tau, "theta": mu + tau * z}, Y, SIGMA))
        other = float(standard.log_density({"mu": mu, "tau": tau, "z": z}, Y, SIGMA))
        assert abs(one + 8 * np.log(tau) - other) < 1e-12


def test_the_density_of_the_schools_is_that_of_their_equations():
    mu, tau, theta = 3.0, 4.0, np.linspace(-5.0, 20.0, 8)
    expected = norm.logpdf(mu, 0, 5) + halfcauchy.logpdf(tau, scale=5) + norm.logpdf(theta, mu, tau).sum()
    form = lawful.trace(hierarchical.eight_schools, Y, SIGMA)
    found = float(form.log_density({"mu": mu, "tau": tau, "theta": theta}, Y, SIGMA))
    assert abs(found - expected - norm.logpdf(Y, theta, SIGMA).sum()) < 1e-12


def test_persons_summed_out_are_integrals_of_one_dimension():
    a, b, answers = np.array([0.7, 1.6]), np.array([-0.4, 0.9]), np.array([[1, 0], [1, 1]])
    form, axis = lawful.trace(hierarchical.item_response, answers), jnp.linspace(-9.0, 9.0, 361)

    def log_density(ability):
        at = {"discrimination": a, "difficulty": b, "ability": ability[:, None]}
        return form.log_density(at, answers)

    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    solved = expit(a * (nodes[:, None] - b))
    expected = lognorm.logpdf(a, 0.5).sum() + norm.logpdf(b).sum()
    for row in answers:
        likelihood = np.prod(np.where(row == 1, solved, 1 - solved), axis=1)
        expected += np.log(weights @ likelihood / weights.sum())
    assert abs(grid_evidence(log_density, axis, axis) - expected) < 1e-10
