"""Closed forms are the general answers for the potentials of their names, known members and derivatives included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.counts import closed, log_evidence, potentials
from tests.inference.numerics.counts import exact
from tests.inference.numerics.counts.cases import KINDS, members

SIZE = 5
FORMS = {
    "one_of": (closed.one_of, potentials.one_of(SIZE)),
    "none_of": (closed.none_of, potentials.none_of(SIZE)),
    "any_of": (closed.any_of, potentials.any_of(SIZE)),
    "all_of": (closed.all_of, potentials.all_of(SIZE)),
    "odd": (lambda h: closed.parity(h, jnp.array(True)), potentials.parity(1, SIZE)),
    "even": (lambda h: closed.parity(h, jnp.array(False)), potentials.parity(0, SIZE)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMS)
def test_closed_messages_are_those_of_the_table(name, kind):
    h = members(SIZE, kind)
    form, g = FORMS[name]
    assert exact.error(form(jnp.asarray(h)), exact.solve(h, np.asarray(g))[0]) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_closed_evidences_are_the_general_ones(kind):
    h = jnp.asarray(members(SIZE, kind))
    assert exact.error(closed.log_one_of(h), log_evidence(h, potentials.one_of(SIZE))) < 1e-10
    for odd in (True, False):
        expected = log_evidence(h, potentials.parity(int(odd), SIZE))
        assert exact.error(closed.log_parity(h, jnp.array(odd)), expected) < 1e-10


@pytest.mark.parametrize("output", [-np.inf, -1.3, 0.0, 2.0, np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_noisy_or_messages_are_those_of_the_table(kind, output):
    h, fail, leak = members(4, kind), np.array([0.3, 0.9, 0.0, 0.5]), 0.1
    y = exact.assignments(4)
    absent = (1 - leak) * np.prod(np.where(y == 1, fail, 1.0), axis=1)
    effect = 1 / (1 + np.exp(-output)), 1 / (1 + np.exp(output))
    parts = np.exp(np.where(y == 1, exact.log_sigma(h), exact.log_sigma(-h)))
    weight = (1 - absent) * effect[0] + absent * effect[1]
    with np.errstate(divide="ignore"):
        log_fail = np.log(fail)
        told = [
            exact.difference(*(np.log((weight * np.delete(parts, i, 1).prod(1))[y[:, i] == v].sum()) for v in (1, 0)))
            for i in range(4)
        ]
    found = closed.noisy_or(jnp.asarray(h), jnp.asarray(log_fail), jnp.asarray(output), leak)
    assert exact.error(found, told) < 1e-10
    chance = (parts.prod(1) * (1 - absent)).sum()
    found = closed.noisy_or_odds(jnp.asarray(h), jnp.asarray(fail), leak)
    assert float(found) == pytest.approx(np.log(chance / (1 - chance)), abs=1e-10)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["one_of", "any_of", "odd"])
def test_closed_forms_have_finite_derivatives_at_known_members(name):
    h = jnp.array([-jnp.inf, 0.3, -0.2, 1.0, -jnp.inf])
    slope = jax.jacobian(lambda x: FORMS[name][0](x)[1:4])(h)
    assert np.isfinite(slope).all()
    inner = jax.jacobian(lambda x: FORMS[name][0](jnp.concatenate([h[:1], x, h[4:]]))[1:4])(h[1:4])
    assert exact.error(slope[:, 1:4], inner) < 1e-12
