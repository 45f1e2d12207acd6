"""The study of spoiled guides: laws are taken apart and spoiled as it says, and no failure is silent."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from benchmarks.studies.posteriordb import POSTERIORS, data_folder
from benchmarks.studies.posteriordb.guides import FITTED, SPOILED, Parts, drawn, law_of, lines, parts_of
from benchmarks.studies.posteriordb.reference import bound
from lawful.inference.laws.flow import Flow, flow_weights
from lawful.inference.laws.tailed import Tailed

ROOT = np.array([[[1.5, 0.0], [-0.6, 0.8]]])
PARTS = Parts(np.zeros(1), np.array([[1.0, -2.0]]), ROOT)
LAWS = {
    "independent": dist.Normal(jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0])).to_event(1),
    "normal": dist.MultivariateNormal(jnp.asarray(PARTS.loc[0]), scale_tril=jnp.asarray(ROOT[0])),
    "low rank": dist.LowRankMultivariateNormal(jnp.zeros(2), jnp.array([[1.0], [0.5]]), jnp.array([0.2, 0.3])),
    "mixture": dist.MixtureSameFamily(
        dist.Categorical(probs=jnp.array([0.3, 0.7])),
        dist.MultivariateNormal(jnp.array([[0.0, 1.0], [2.0, 0.0]]), scale_tril=jnp.asarray(np.repeat(ROOT, 2, 0))),
    ),
}

BENT = jax.tree.map(lambda x: x + 0.1 * np.random.default_rng(1).normal(size=x.shape), flow_weights(2))
LAWS["tailed"] = Tailed(LAWS["low rank"], 3, 1.2)
LAWS["flow"] = Flow(BENT, jnp.asarray(PARTS.loc[0]), jnp.asarray(ROOT[0]))


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_the_mixture_of_its_parts(name):
    points = np.random.default_rng(0).normal(size=(5, 2))
    again = law_of(parts_of(LAWS[name]), cut=False)
    np.testing.assert_allclose(again.log_prob(points), LAWS[name].log_prob(points), rtol=1e-6)


def test_guides_are_spoiled_as_they_are_named():
    covariance = ROOT[0] @ ROOT[0].T
    found = {name: spoil(PARTS) for name, spoil in SPOILED.items()}
    spread = {name: parts.root[0] @ parts.root[0].T for name, parts in found.items()}
    np.testing.assert_allclose(spread["half scale"], covariance / 4)
    np.testing.assert_allclose(spread["double scale"], 4 * covariance)
    np.testing.assert_allclose(spread["correlations dropped"], np.diag(np.diag(covariance)))
    np.testing.assert_allclose(spread["a site unfitted"], np.diag([covariance[0, 0], 1.0]))
    np.testing.assert_allclose(found["wrong sign"].loc, -PARTS.loc)
    off = found["wrong place"].loc[0] - PARTS.loc[0]
    np.testing.assert_allclose(off @ np.linalg.solve(covariance, off), 9.0)
    assert np.all(found["a site unfitted"].loc == [[1.0, 0.0]]) and np.all(found["the start"].loc == 0.0)
    draws = np.asarray(law_of(PARTS, cut=True).sample(jax.random.key(0), (1000,))) - PARTS.loc[0]
    assert 1.9 < np.abs(np.linalg.solve(ROOT[0], draws.T)).max() < 2.0


@pytest.mark.slow
def test_no_failure_of_a_regression_is_silent(tmp_path):
    """The guide itself is right and ok, a cut tail is refused, and no other one is ok and wrong."""
    posterior = POSTERIORS["kidiq-kidscore_interaction"]
    jax.config.update("jax_enable_x64", True)
    found = list(lines(posterior, "lowrank", data_folder(), jax.random.key(0)))
    limit = bound(sum(one.compared for one in found))
    assert len(found) == len(SPOILED) and not [one for one in found if one.ok and one.largest > limit]
    assert {one.spoiled for one in found if one.ok} >= {FITTED, "double scale"}
    assert any(one.spoiled.startswith("cut tail: ") for one in found)
    drawn(found, tmp_path / "guides.svg")
    assert (tmp_path / "guides.svg").stat().st_size > 1000
