"""The machinery of evidence per number of classes, on a mixture whose labels were all enumerated."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.optimize

import lawful
from lawful import inference
from lawful.models.latent_classes import co_membership
from lawful.models.latent_classes.redrawing import one_class_redrawn
from lawful.models.latent_classes.reference import around, drawn_classes, of_the_prior, valued

RUNS = 40


def classes():
    with lawful.plate("class", 2):
        lawful.sample("mu", dist.Normal(0.0, 2.0))


def parts(mu):
    return dist.Normal(mu, jnp.sqrt(0.5))


def mixture(y, reference):
    mu = drawn_classes(reference, "class", classes)["mu"]
    with lawful.plate("i", len(y)):
        lawful.sample("y", dist.MixtureSameFamily(dist.Categorical(logits=jnp.zeros(2)), parts(mu)), obs=y)


def score(point, y):
    density, values = valued(point, classes)
    each = parts(values["mu"]).log_prob(y[:, None]) - jnp.log(2.0)
    return density + jnp.sum(jax.nn.logsumexp(each, axis=1))


def reference_of(y):
    """Around the optima that two ascents find."""
    slope = jax.grad(score)

    def fall(x):
        point = jnp.asarray(x)[:, None]
        return -float(score(point, y)), -np.asarray(slope(point, y))[:, 0]

    found = [scipy.optimize.minimize(fall, start, jac=True) for start in ([1.0, -1.0], [0.1, 0.0])]
    every = jax.vmap(lambda _, point: slope(point, y))
    ends = np.array([each.x[:, None] for each in found])
    return around(every, np.zeros(2), ends, [-each.fun for each in found], of_the_prior(classes))


def flow():
    return inference.population_hmc(jitter=0.5, exchangeable="class", adapt=True)


KERNELS = {"flow and redraws": lambda: inference.kernels.cycle(flow(), one_class_redrawn), "flow": flow}


@pytest.mark.reference
@pytest.mark.tier2
@pytest.mark.slow
@pytest.mark.parametrize("name", KERNELS)
def test_evidence_and_pairs_are_those_of_all_labelings(name, data):
    """40 runs of 256 particles, within six standard errors: by Student's law at 5e-7 for each number."""
    known = json.loads((data / "exact" / "mixture_enumerated.json").read_text())
    y = jnp.asarray(known["data"]["y"])
    plan = inference.tempered_smc(
        mixture, particles=256, runs=RUNS, kernel=KERNELS[name](), ladder=inference.by_ess(0.7)
    )
    found = plan(0, y, reference_of(y))
    log_ratio = np.asarray(found.log_evidence) - known["exact"]["log_evidence"]
    assert log_ratio.std(ddof=1) < 0.2
    ratio = np.exp(log_ratio) - 1
    assert abs(ratio.mean()) < 6 * ratio.std(ddof=1) / RUNS**0.5
    w = np.asarray(jax.nn.softmax(parts(jnp.asarray(found.posterior["mu"])[:, :, None]).log_prob(y[:, None]), axis=-1))
    apart = np.array([co_membership(each) for each in w]) - np.array(known["exact"]["same_cluster_probability"])
    error = apart.std(axis=0, ddof=1) / RUNS**0.5
    assert error.max() < 0.005
    assert (abs(apart.mean(axis=0)) < 6 * error + 1e-6).all()
