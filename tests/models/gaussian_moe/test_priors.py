"""The mixture with priors: its density is prior times closed form, and names of experts are no part of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import lawful
from lawful import inference
from lawful.errors import LawfulError
from lawful.models.gaussian_moe import Gate, Mixture, Priors, mixture_with_priors
from tests.models.gaussian_moe.cases import random_case

PRIORS = Priors(level=1.2, slope=3.0, noise=0.7, gate=2.0, heat=0.8)


def choices(seed, k=3, d=2):
    """Rows of the gate, the parameters that they stand for, and the choices of the program that are these."""
    p, X, y, _ = random_case(seed, k, d)
    named = dict(row=jnp.hstack([p.beta1, p.beta0[:, None]]), a=p.a, b=p.b, sigma=jnp.sqrt(p.nu))
    p = p._replace(beta1=p.beta1 - p.beta1.mean(0), beta0=p.beta0 - p.beta0.mean())
    return p, jnp.asarray(X), jnp.asarray(y), named


@partial(jax.jit, static_argnums=0)
def log_density(gate, named, X, y, priors):
    form = lawful.trace(inference.marginalise()(mixture_with_priors), X, y, 3, gate, priors)
    return form.log_density(named, X, y, 3, gate, priors)


@pytest.mark.rest_slow
@pytest.mark.parametrize("gate", [Gate(), Gate("topk", top_k=2), Gate("activated")], ids=lambda gate: gate.kind)
def test_the_density_is_the_prior_times_the_closed_form(gate):
    """Rows of a linear gate count less their mean: of an activated one, whose slopes a shift changes, beta0 alone."""
    p, X, y, named = choices(0)
    exact = stats.norm.logpdf(named["row"], 0, 2.0).sum()
    if gate.kind == "activated":
        p, named = p._replace(beta1=named["row"][:, :-1]), named | dict(tau=p.tau)
        exact += stats.lognorm.logpdf(float(p.tau), 0.8)
    else:
        p = p._replace(tau=1.0)
    exact += float(jnp.sum(Mixture(gate, p).log_density(X, y)))
    exact += stats.norm.logpdf(p.a, 0, 3.0 / np.ptp(X, axis=0)).sum() + stats.norm.logpdf(p.b, 0, 1.2).sum()
    exact += stats.halfnorm.logpdf(named["sigma"], scale=0.7).sum()
    assert float(log_density(gate, named, X, y, PRIORS)) == pytest.approx(exact, rel=1e-12)


def test_experts_that_change_their_names_change_nothing():
    """With a reference expert in the prior the two would differ."""
    _, X, y, named = choices(1)
    order = np.array([2, 0, 1])
    renamed = {name: v[order] for name, v in named.items()}
    values = [float(log_density(Gate(), each, X, y, PRIORS)) for each in (named, renamed)]
    assert values[0] == pytest.approx(values[1], rel=1e-13)


def test_too_many_selected_experts_are_told():
    with pytest.raises(LawfulError, match="top_k=3 of 2 experts. Fix"):
        lawful.trace(lambda x, y: mixture_with_priors(x, y, 2, Gate("topk", top_k=3)), jnp.ones((3, 1)), jnp.ones(3))
