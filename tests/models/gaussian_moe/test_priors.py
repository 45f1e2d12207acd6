"""The mixture with priors: its density is prior times closed form, and names of experts are no part of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lawful
from lawful.errors import LawfulError
from lawful.models.gaussian_moe import Gate, Mixture, Priors, mixture_with_priors
from tests.models.gaussian_moe.cases import random_case

PRIORS = Priors(level=1.2, slope=3.0, noise=0.7, gate=2.0, heat=0.8)


def choices(seed, k=3, d=2):
    """Parameters whose gate sums to zero over experts, and the choices of the program that are these."""
    p, X, y, _ = random_case(seed, k, d)
    p = p._replace(beta1=p.beta1 - p.beta1.mean(0), beta0=p.beta0 - p.beta0.mean())
    named = dict(gate=jnp.vstack([p.beta1.T, p.beta0]), a=p.a, b=p.b, sigma=jnp.sqrt(p.nu))
    return p, jnp.asarray(X), jnp.asarray(y), named


@partial(jax.jit, static_argnums=0)
def log_density(gate, named, X, y, priors):
    form = lawful.trace(lambda X, y, priors: mixture_with_priors(X, y, 3, gate, priors), X, y, priors)
    return form.log_density(named, X, y, priors)


def zero_sum(v, scale):
    """The normal law on the vectors that sum to zero, of covariance scale^2 (I - 11'/k)."""
    return -0.5 * np.sum(v**2) / scale**2 - 0.5 * (len(v) - 1) * np.log(2 * np.pi * scale**2)


@pytest.mark.parametrize("gate", [Gate(), Gate("topk", top_k=2), Gate("activated")], ids=lambda gate: gate.kind)
def test_the_density_is_the_prior_times_the_closed_form(gate):
    p, X, y, named = choices(0)
    if gate.kind == "activated":  # slopes have no sum to zero where a shift of them is seen
        named |= dict(gate=p.beta0[None], beta1=p.beta1, tau=p.tau)
    else:
        p = p._replace(tau=1.0)
    exact = float(jnp.sum(Mixture(gate, p).log_density(X, y)))
    exact += stats.norm.logpdf(p.a, 0, 3.0 / np.ptp(X, axis=0)).sum() + stats.norm.logpdf(p.b, 0, 1.2).sum()
    exact += stats.halfnorm.logpdf(named["sigma"], scale=0.7).sum() + zero_sum(np.asarray(p.beta0), 2.0)
    if gate.kind == "activated":
        exact += stats.norm.logpdf(p.beta1, 0, 2.0).sum() + stats.lognorm.logpdf(float(p.tau), 0.8)
    else:
        exact += sum(zero_sum(row, 2.0) for row in np.asarray(p.beta1).T)
    assert float(log_density(gate, named, X, y, PRIORS)) == pytest.approx(exact, rel=1e-12)


def test_experts_that_change_their_names_change_nothing():
    """With a reference expert in the prior the two would differ."""
    _, X, y, named = choices(1)
    order = np.array([2, 0, 1])
    renamed = {name: v[:, order] if name == "gate" else v[order] for name, v in named.items()}
    values = [float(log_density(Gate(), each, X, y, PRIORS)) for each in (named, renamed)]
    assert values[0] == pytest.approx(values[1], rel=1e-13)


def test_too_many_selected_experts_are_told():
    with pytest.raises(LawfulError, match="top_k=3 of 2 experts. Fix"):
        lawful.trace(lambda x, y: mixture_with_priors(x, y, 2, Gate("topk", top_k=3)), jnp.ones((3, 1)), jnp.ones(3))
