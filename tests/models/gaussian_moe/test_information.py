"""Information and Hellinger distance: the reference values, closed forms, and what is not identified."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful import handlers
from lawful.models.gaussian_moe import Gate, Mixture, Parameters, fisher, hellinger
from lawful.models.gaussian_moe.hellinger import answers_grid, unit_nodes
from lawful.models.gaussian_moe.information import scaled_eigenvalues, score_information
from lawful.models.gaussian_moe.program import free_mixture, free_values
from tests.models.gaussian_moe.cases import GATES, TRUTH, random_case

ACTIVATED = TRUTH._replace(beta0=jnp.array([-0.4, 0.0]), tau=jnp.array(0.25))
SLOW = ACTIVATED._replace(beta1=jnp.array([[5.0], [0.0]]))
MIXTURES = {
    "plain": Mixture(Gate(), TRUTH),
    "temperature": Mixture(Gate("temperature"), TRUTH),
    "activated": Mixture(Gate("activated"), ACTIVATED),
    "slow": Mixture(Gate("activated"), SLOW),
}


@cache
def information(name):
    return np.asarray(fisher(MIXTURES[name]))


def digits(found, shown):
    """Equal to the digits that are shown: half a unit of the last one, which the reference has as a string."""
    for value, text in zip(found, shown, strict=True):
        mantissa = text.split("e")[0]
        unit = 10.0 ** -len(mantissa.partition(".")[2]) * float("1e" + (text.split("e") + ["0"])[1])
        assert abs(value - float(text)) <= 0.5001 * unit, (value, text)


def test_the_information_of_the_plain_gate_is_the_reference():
    """The reference has 10.87 and, below, 27.8; the numbers are 10.87508 and 27.74974, near the edge of rounding."""
    values = np.linalg.eigvalsh(information("plain"))
    digits(values, ["1.739e-4", "2.118e-2", "4.343e-2", "0.2148", "2.053", "6.236", "10.88", "41.60"])
    assert scaled_eigenvalues(information("plain"))[0][0] == pytest.approx(0.0232, abs=5e-5)
    deviations = np.sqrt(np.diagonal(np.linalg.inv(information("plain"))))
    digits(deviations, ["72.26", "23.50", "1.796", "6.776", "1.234", "1.338", "0.1551", "0.4005"])


def test_a_free_temperature_has_exactly_one_direction_without_information():
    found = information("temperature")
    values, vectors = np.linalg.eigh(found)
    assert abs(values[0]) < 1e-14
    digits(values[1:], ["2.118e-2", "4.341e-2", "0.1200", "0.2148", "2.053", "6.236", "10.88", "41.60"])
    scale = np.array([25.0, -8.0, 0, 0, 0, 0, 0, 0, 1.0])
    null = vectors[:, 0] * np.sign(vectors[0, 0])
    np.testing.assert_allclose(null, scale / np.linalg.norm(scale), atol=1e-9)
    scaled, _ = scaled_eigenvalues(found)
    assert scaled[0] < 1e-10 and scaled[1] > 1e-3


def test_an_activated_gate_has_information_in_every_direction():
    values = np.linalg.eigvalsh(information("activated"))
    digits(values, ["9.09e-6", "1.417e-2", "0.194", "0.312", "0.381", "3.23", "4.11", "8.00", "8.08", "34.1"])
    assert scaled_eigenvalues(information("activated"))[0][0] == pytest.approx(0.0567, abs=5e-5)
    slow = np.linalg.eigvalsh(information("slow"))
    digits([slow[0], slow[-1]], ["6.4e-5", "27.7"])
    assert scaled_eigenvalues(information("slow"))[0][0] == pytest.approx(0.0015, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "activated"])
def test_scores_of_drawn_data_have_the_information_as_their_mean_product(name):
    places, answers = jax.random.split(jax.random.key(3))
    x = jax.random.uniform(places, (20_000, 1))
    y = MIXTURES[name].sample(answers, x)
    found = np.linalg.eigvalsh(score_information(MIXTURES[name], x, y))
    np.testing.assert_allclose(found, np.linalg.eigvalsh(information(name)), rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "temperature", "logistic"])
def test_coordinates_of_the_information_stand_for_the_same_mixture(name):
    gate, (p, X, y, _) = GATES[name], random_case(0)
    back = handlers.seed(handlers.substitute(free_mixture, free_values(gate, p)), 0)(
        jnp.asarray(X), jnp.asarray(y), 3, gate
    )
    one, other = (Mixture(gate, each).log_density(X, y) for each in (back, p))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_distance_of_two_normals_is_its_closed_form():
    """h^2 = 1 - sqrt(2 s t / (s^2 + t^2)) exp(-(m - n)^2 / (4 (s^2 + t^2))), for means that move with x."""
    one = Parameters.of([0.0], [0.0], [2.0], [0.5], [0.25])
    other = Parameters.of([0.0], [0.0], [1.0], [0.0], [1.0])
    x, w = unit_nodes()
    gap = x[:, 0] + 0.5
    exact = np.sqrt(1 - np.sqrt(2 * 0.5 / 1.25) * np.exp(-(gap**2) / (4 * 1.25)))
    grid = np.linspace(-12, 14, 2001)
    assert hellinger(Mixture(Gate(), one), Mixture(Gate(), other), grid=grid) == pytest.approx(w @ exact, rel=1e-9)


def test_densities_that_do_not_meet_are_at_distance_1():
    """The grid is that of the truth, and what the other law has beyond it counts."""
    near, far, wide = (
        Mixture(Gate(), Parameters.of([0.0], [0.0], [0.0], [b], [nu])) for b, nu in ((0, 1), (1e3, 1), (0, 1e4))
    )
    assert hellinger(far, near) == pytest.approx(1, abs=1e-9)
    exact = np.sqrt(1 - np.sqrt(2 * 100 / (1 + 1e4)))
    assert hellinger(near, wide) == pytest.approx(exact, rel=1e-6)
    assert hellinger(wide, near) == pytest.approx(exact, rel=1e-3)


def test_the_distance_is_0_for_equal_densities_and_does_not_depend_on_the_step():
    truth, x = MIXTURES["plain"], np.array([[0.2], [0.33], [0.7]])
    other = Mixture(Gate(), TRUTH._replace(b=TRUTH.b + 0.05))
    coarse, fine = (hellinger(other, truth, x, answers_grid(truth, x, n)) for n in (2001, 4001))
    assert coarse == pytest.approx(float(fine), rel=1e-9) and 0.01 < fine < 0.2
    assert hellinger(truth, truth, x) == 0
    assert hellinger(truth, other, x, answers_grid(truth, x, 2001)) == pytest.approx(float(coarse), rel=1e-12)
