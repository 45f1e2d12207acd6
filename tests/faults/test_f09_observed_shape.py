"""Row 9: an observation has exactly the shape of its site; nothing is ever broadcast in silence."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lawful
from lawful import handlers, plate, sample
from lawful.errors import ObservationError

SHAPES = [shape for rank in range(4) for shape in itertools.product((1, 2, 3), repeat=rank)]


def observe(site, data):
    return lambda: sample("y", dist.Normal(jnp.zeros(site), 1.0), obs=np.ones(data))


@pytest.mark.fault(9)
@pytest.mark.rest_slow
@pytest.mark.parametrize("site", SHAPES, ids=str)
def test_f09_of_all_pairs_of_shapes_only_equal_ones_are_accepted(site):
    distribution = dist.Normal(np.zeros(site), 1.0)
    for data in SHAPES:

        def program(data=data):
            return sample("y", distribution, obs=np.ones(data))

        if data == site:
            score = handlers.trace(program)().log_density
            np.testing.assert_allclose(score, np.prod(site) * float(dist.Normal(0.0, 1.0).log_prob(1.0)), rtol=1e-12)
            continue
        with pytest.raises(ObservationError) as caught:
            program()
        assert (caught.value.given, caught.value.expected) == (data, site)
        assert f"observed shape {data}, expected {site}." in str(caught.value)


@given(st.sampled_from(SHAPES), st.sampled_from(SHAPES))
def test_f09_the_traced_program_decides_as_the_eager_one(site, data):
    if data == site:
        (found,) = lawful.trace(observe(site, data)).sites()
        assert found.out.shape == site
    else:
        with pytest.raises(ObservationError, match="observed shape"):
            lawful.trace(observe(site, data))


@given(st.lists(st.sampled_from((1, 2, 3)), max_size=3), st.sampled_from(SHAPES))
def test_f09_the_shape_of_a_site_in_plates_is_that_of_its_plates(sizes, data):
    def program():
        def inside(left):
            if left:
                with plate(f"p{len(left)}", left[0]):
                    inside(left[1:])
            else:
                sample("y", dist.Normal(0.0, 1.0), obs=np.ones(data))

        inside(sizes)

    if data == tuple(reversed(sizes)):
        handlers.trace(program)()
        lawful.trace(program)
    else:
        for run in (handlers.trace(program), lambda: lawful.trace(program)):
            with pytest.raises(ObservationError, match="observed shape"):
                run()


@given(st.sampled_from([s for s in SHAPES if s]), st.sampled_from([s for s in SHAPES if s]))
def test_f09_arguments_of_another_shape_are_refused_when_traced(site, data):
    def program(y):
        return sample("y", dist.Normal(jnp.zeros(site), 1.0), obs=y)

    if data == site:
        lawful.trace(program, np.ones(data))
    else:
        with pytest.raises(ObservationError, match="observed shape"):
            lawful.trace(program, np.ones(data))


def schools(y):
    theta = sample("theta", dist.Normal(0.0, 1.0))
    with plate("school", 3):
        sample("y", dist.Normal(theta, 1.0), obs=y)


@pytest.mark.regression("15.7g")
def test_f09_a_column_for_a_vector_is_refused_and_the_message_says_what_it_would_do():
    """Numpyro broadcasts (3, 1) against (3,): the log density becomes -9.19 instead of -3.68."""
    with pytest.raises(ObservationError) as caught:
        lawful.trace(schools, np.zeros((3, 1)))
    message = str(caught.value)
    assert "site 'y' in plate 'school' (axis -1, size 3): observed shape (3, 1), expected (3,)." in message
    assert "broadcast to (3, 3) and count observations more than once" in message
    assert "obs=y.squeeze(-1)" in message
    assert f"Model: {__file__}:" in message
    form = lawful.trace(schools, np.zeros(3))
    np.testing.assert_allclose(form.log_density({"theta": 0.0}, np.zeros(3)), -2 * np.log(2 * np.pi), rtol=1e-12)


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ((), "repeat the value explicitly"),
        ((1,), "repeat the value explicitly"),
        ((1, 3), r"squeeze\(-2\)"),
        ((4,), "expected shape"),
    ],
)
def test_f09_the_remedy_fits_the_mistake(data, remedy):
    with pytest.raises(ObservationError, match=rf"(?s)observed shape.*Fix: .*{remedy}"):
        lawful.trace(schools, np.zeros(data))


def test_f09_conditioning_follows_the_same_rule():
    def model():
        return sample("y", dist.Normal(jnp.zeros(3), 1.0))

    for handler in (handlers.condition, handlers.substitute):
        with pytest.raises(ObservationError, match=r"observed shape \(3, 1\), expected \(3,\)"):
            handler(model, {"y": np.zeros((3, 1))})()
    with pytest.raises(lawful.LawfulError, match=r"given shape \(3, 1\), expected \(3,\)"):
        lawful.trace(model).log_density({"y": jnp.zeros((3, 1))})


def test_f09_event_axes_count():
    law = dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))
    for shape in ((), (1,), (3,), (1, 2), (2, 1), (2, 2)):
        with pytest.raises(ObservationError, match="observed shape"):
            lawful.trace(lambda shape=shape: sample("y", law, obs=np.zeros(shape)))
    jax.tree.map(lambda _: None, lawful.trace(lambda: sample("y", law, obs=np.zeros(2))))
