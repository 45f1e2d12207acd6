"""The Form: immutable, one address per site, cached by program, shapes and float type."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import cond, deterministic, handlers, plate, sample, scan
from lawful.errors import KeyReuseError, LawfulError, UnsupportedProgramError
from lawful.form import Branch, Det, Loop

KEY = jax.random.key(0)
NORMAL = dist.Normal(0.0, 1.0)


def model(y):
    x = sample("x", NORMAL)
    sample("y", dist.Normal(x, 1.0), obs=y)
    return deterministic("twice", 2 * x)


def test_a_form_and_its_nodes_never_change():
    form = lawful.trace(model, 0.0)
    for part in (form, *form.nodes, *form.inputs):
        for field in dataclasses.fields(part):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, field.name, None)
    assert all(isinstance(getattr(form, name), tuple) for name in ("inputs", "nodes", "outputs", "constants"))


def test_a_form_says_what_it_holds():
    form = lawful.trace(model, 0.0)
    assert repr(form) == f"Form(1 inputs, 1 latent sites, 1 observed, {len(form.nodes)} nodes)"
    assert str(form) == form.show()
    assert {form: 1}[form] == 1


def test_an_input_that_nothing_reads_stays_an_input():
    form = lawful.trace(lambda a, b: sample("x", dist.Normal(b, 1.0)), 1.0, 2.0)
    assert len(form.inputs) == 2
    assert float(form.log_density({"x": 2.0}, 9.0, 2.0)) == float(NORMAL.log_prob(0.0))


def test_a_named_value_that_nothing_reads_is_kept():
    def quiet():
        deterministic("twice", 2 * sample("x", NORMAL))
        scan(lambda c, _: (c, deterministic("z", sample("w", NORMAL))), 0.0, length=2)

    named = [n.address for n in lawful.form.walk(lawful.trace(quiet)) if isinstance(n, Det) and n.address is not None]
    assert named == [("twice",), ("z",)]


def test_two_names_of_one_code_are_refused():
    with pytest.raises(KeyReuseError, match="'plumless' and 'buckeroo'.*rename"):
        lawful.trace(lambda: (sample("plumless", NORMAL), sample("buckeroo", NORMAL)))


def test_equal_calls_give_the_same_form():
    first = lawful.trace(model, 0.0)
    assert lawful.trace(model, 1.0) is first
    assert lawful.trace(model, np.float64(3.0)) is first
    assert lawful.trace(model, jax.ShapeDtypeStruct((), jnp.float64)) is first
    assert lawful.trace(first) is first


def test_other_shapes_types_and_static_values_give_other_forms():
    def sized(y, n=2, flag=True):
        with plate("a", n):
            sample("y", NORMAL, obs=y)

    forms = [
        lawful.trace(sized, np.zeros(2)),
        lawful.trace(sized, np.zeros(2, np.float32)),
        lawful.trace(sized, np.zeros(3), 3),
        lawful.trace(sized, np.zeros(2), 2, False),
    ]
    assert len(set(forms)) == 4


def test_the_float_type_is_a_part_of_the_key():
    def program():
        return sample("x", dist.Normal(0.0, 1.0))

    wide = lawful.trace(program)
    with jax.enable_x64(False):
        narrow = lawful.trace(program)
        assert [site.out.dtype for site in narrow.sites()] == [jnp.float32]
    assert narrow is not wide and lawful.trace(program) is wide
    assert [site.out.dtype for site in wide.sites()] == [jnp.float64]


def test_pytrees_of_arguments_keep_their_structure():
    def program(data, scale):
        return sample("y", dist.Normal(data["loc"], scale), obs=data["y"])

    data = {"loc": jnp.zeros(2), "y": jnp.ones(2)}
    form = lawful.trace(program, data, 2.0)
    assert len(form.inputs) == 3
    expected = dist.Normal(0.0, 2.0).log_prob(jnp.ones(2)).sum()
    np.testing.assert_allclose(form.log_density({}, data, 2.0), expected, rtol=1e-15)


def test_an_argument_that_cannot_be_a_key_is_named():
    class Settings:
        __hash__ = None

    with pytest.raises(LawfulError, match="not hashable"):
        lawful.trace(lambda settings: None, Settings())


def test_loops_and_branches_are_nodes_whose_sites_have_one_address():
    def program():
        def step(c, _):
            return c, cond(c > 0, lambda: sample("x", NORMAL), lambda: sample("z", NORMAL))

        return scan(step, 1.0, length=4)

    form = lawful.trace(program)
    (loop,) = form.nodes
    assert isinstance(loop, Loop) and loop.length == 4
    assert any(isinstance(node, Branch) for node in loop.body.nodes)
    assert sorted(site.address for site in form.sites()) == [("x",), ("z",)]


def test_a_form_runs_as_a_program_with_the_structure_of_its_output():
    def program(y):
        return {"x": sample("x", dist.Normal(y, 1.0)), "rest": (y, [jnp.ones(2)])}

    form = lawful.trace(program, 0.5)
    ours, plain = handlers.seed(form, KEY)(0.5), handlers.seed(program, KEY)(0.5)
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), ours, plain)


def test_a_form_inside_a_transformation_of_jax_is_refused_and_its_density_is_not():
    form = lawful.trace(model, 0.3)
    drawn = jax.vmap(lambda key: handlers.trace(handlers.seed(form, key))(0.3).choices)
    with pytest.raises(UnsupportedProgramError, match=r"run eagerly inside jax.jit.*test_form.*lawful.density"):
        drawn(jax.random.split(KEY, 3))
    scores = jax.vmap(lambda x: lawful.density(form, 0.3).log_density({"x": x}))(jnp.arange(3.0))
    np.testing.assert_allclose(scores[1], NORMAL.log_prob(1.0) + dist.Normal(1.0, 1.0).log_prob(0.3), rtol=1e-12)
