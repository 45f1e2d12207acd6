"""One element of a plate drawn anew: exactly reversible, from the prior and from programs, or refused."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from lawful import cond, factor, inference, plate, sample, trace
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.inference import kernels
from lawful.inference.check import invariant
from lawful.inference.check.rows.kernel_rows import MIXTURE, START, classes, places


def hierarchy(prior):
    """A parameter of all elements, a site that reads all of them, and another plate around."""
    p = sample("p", dist.Bernoulli(prior["p"]))
    with plate("pair", 2, dim=-2), plate("class", 2, dim=-1):
        z = sample("z", dist.Bernoulli(0.2 + 0.5 * p))
    sample("sum", dist.Bernoulli(0.1 + 0.2 * jnp.sum(z)))
    factor("apart", 0.5 * (z[0, 0] == z[1, 1]))


def by_names(current, *, prior):
    """One element: a column of the pairs, given what the model is given."""
    sample("z", dist.Bernoulli(jnp.full(2, prior["q"]) + 0.1 * current["p"]))


@pytest.mark.slow
@pytest.mark.parametrize("proposal", [None, by_names], ids=["prior", "by names"])
def test_redraws_of_a_hierarchy_are_exactly_reversible(proposal):
    kernel = kernels.mh(kernels.redraw("class", proposal))
    mixed = kernels.mixture([2, 1], kernel, kernels.mh())  # which reaches all
    assert mixed.contract.reversible
    invariant(mixed, hierarchy, {"p": 0.4, "q": 0.3}).raise_if_failed()
    moved = "z: one element of 'class' drawn anew from " + ("its prior" if proposal is None else "by_names")
    form = trace(hierarchy, {"p": 0.4, "q": 0.3})
    assert kernel.plan(form) == ["p: not moved", moved, "sum: not moved"]


@pytest.mark.slow
def test_an_element_of_a_mixture_that_a_program_starts_from_is_drawn_by_its_marginal():
    """The proposal of the mixture's own `anew`: exact on the finite mixture, and the marginal sums to one."""
    program, proposed = START(places), trace(MIXTURE.anew)
    invariant(kernels.mh(kernels.redraw("class", MIXTURE.anew)), program).raise_if_failed()
    (site,), known = proposed.sites(), dict(proposed.constants)
    values, masses = site.law.enumerate(*[jnp.asarray(known[v]) for v in site.parameters])
    whole = np.asarray(MIXTURE.enumerate_support())
    table, far = np.exp(np.asarray(MIXTURE.log_prob(whole))), np.asarray(MIXTURE.far.probs)
    own = np.array([table[whole[:, 0] == v].sum() for v in values])  # a tenth of it is broad; here it is half
    np.testing.assert_allclose(np.exp(masses), (own - 0.1 * far) / 0.9 * 0.5 + 0.5 * far, rtol=1e-12)
    with pytest.raises(UnsupportedProgramError, match="'class.start'.*all elements at once. Fix: give a program"):
        kernels.mh(kernels.redraw("class")).build(trace(program))


def switching():
    with plate("class", 2):
        z = sample("z", dist.Bernoulli(0.3))
    cond(z[0] == 1, lambda: sample("w", dist.Bernoulli(0.3)), lambda: 0)


def whole(current):
    sample("place", dist.Categorical(jnp.ones((2, 3)) / 3))


def other(current):
    sample("size", dist.Bernoulli(0.5))


def weighing(current):
    sample("flag", dist.Bernoulli(0.5))
    factor("more", 0.1)


@pytest.mark.parametrize(
    ("program", "given", "named"),
    [
        (classes, ("row",), "no choice stands in a plate named 'row'"),
        (classes, ("class", whole), "draws 'place' .* of shape .2,.* one element has .."),
        (classes, ("class", other), "it has 'size' .*: place, flag"),
        (classes, ("class", weighing), "it has 'more'"),
        (classes, ("class", by_names), "argument 'prior' by name, and the names of the model's are not known"),
        (switching, ("class",), "decides whether another site runs"),
    ],
)
def test_what_is_no_element_is_refused(program, given, named):
    with pytest.raises(LawfulError, match=named) as error:
        kernels.mh(kernels.redraw(*given)).build(trace(program))
    assert "Fix:" in str(error.value)


def test_names_of_arguments_reach_proposals_on_a_path():
    """At every point of a path; a name that no argument has is refused."""
    kernel = kernels.mh(kernels.redraw("class", by_names))
    prior = {"p": 0.4, "q": 0.3}
    tempered = inference.tempered_smc(hierarchy, particles=64, kernel=kernel, ladder=[1.0])(0, prior)
    assert np.isfinite(tempered.log_evidence).all()

    def strange(current, *, data):
        sample("z", dist.Bernoulli(data))

    with pytest.raises(LawfulError, match="argument 'data' by name, and the model takes prior. Fix"):
        inference.mcmc(hierarchy, kernels.redraw("class", strange), chains=1, warmup=0, draws=1)(0, prior)
