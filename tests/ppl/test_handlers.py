"""Handlers: each changes the measure as its name says, and the stack of handlers is always restored."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import deterministic, factor, handlers, plate, sample, scan
from lawful.addresses import key_at
from lawful.errors import DuplicateSiteError, KeyReuseError, LawfulError, ObservationError, UnsupportedProgramError
from lawful.messages import Handler, installed
from lawful.messages import handlers as stack

KEY = jax.random.key(1)


def pair():
    x = sample("x", dist.Normal(0.0, 1.0))
    y = sample("y", dist.Normal(x, 2.0))
    deterministic("total", x + y)
    return x, y


def score(value, loc, scale):
    return -0.5 * ((value - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def test_seed_draws_by_the_address_alone():
    def other():
        sample("z", dist.Gamma(2.0, 1.0))
        return tuple(reversed([sample("y", dist.Normal(0.0, 1.0)), sample("x", dist.Normal(0.0, 1.0))]))

    assert handlers.seed(other, KEY)()[0] == handlers.seed(pair, KEY)()[0]


def test_seed_draws_as_the_compiled_program_does():
    from lawful.backends.xla import compile

    def model():
        x, y = pair()
        z = scan(lambda c, _: (c, sample("z", dist.Gamma(2.0, jnp.ones(2)))), 0.0, length=3)[1]
        return x, y, z, sample("k", dist.Categorical(probs=jnp.array([0.2, 0.3, 0.5])))

    staged, _ = compile(lawful.trace(model))(KEY)
    for one, other in zip(staged, handlers.seed(model, KEY)(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


def test_other_keys_give_other_draws():
    assert handlers.seed(pair, KEY)()[0] != handlers.seed(pair, jax.random.key(2))()[0]


@pytest.mark.parametrize("key", [jnp.zeros(3, jnp.uint32), jax.random.split(KEY, 2)], ids=["no key", "two"])
def test_seed_takes_one_key(key):
    with pytest.raises(LawfulError, match=r"one typed key, jax\.random\.key\(0\)"):
        handlers.seed(pair, key)


def test_substitute_keeps_a_choice_and_its_density():
    run = handlers.trace(handlers.substitute(pair, {"x": 1.0, "y": 2.0}))()
    assert set(run.choices) == {("x",), ("y",)} and not run.observations
    assert np.isclose(float(run.log_density), score(1.0, 0, 1) + score(2.0, 1, 2), rtol=1e-15)
    assert float(run.log_prior) == float(run.log_density)


def test_condition_turns_a_choice_into_an_observation():
    run = handlers.trace(handlers.seed(handlers.condition(pair, {"y": 2.0}), KEY))()
    x = float(run.choices[("x",)])
    assert set(run.observations) == {("y",)}
    assert np.isclose(float(run.log_density - run.log_prior), score(2.0, x, 2), rtol=1e-14)


def test_replay_repeats_the_choices_and_computes_the_rest_again():
    first = handlers.trace(handlers.seed(pair, KEY))()
    first.deterministics[("total",)] = jnp.array(1e9)
    again = handlers.trace(handlers.replay(pair, first))()
    assert again.choices == first.choices
    assert float(again.log_density) == float(first.log_density)
    assert float(again.deterministics[("total",)]) == float(sum(first.choices.values()))


def test_a_loop_takes_an_array_or_one_entry_per_step():
    def walk():
        return scan(lambda c, _: (c, sample("x", dist.Normal(0.0, 1.0))), 0.0, length=2)[1]

    assert handlers.substitute(walk, {"x": np.array([1.0, 2.0])})().tolist() == [1.0, 2.0]
    assert handlers.substitute(walk, {("x", 0): 3.0, ("x", 1): 4.0})().tolist() == [3.0, 4.0]


@pytest.mark.parametrize("handler", [handlers.condition, handlers.substitute, handlers.replay])
def test_a_given_value_must_fit_its_site(handler):
    with pytest.raises(ObservationError, match=r"site 'x'.*shape \(2,\), expected \(\)"):
        handler(pair, {"x": np.zeros(2)})()


def test_an_inner_handler_wins():
    inner = handlers.substitute(pair, {"x": 1.0, "y": 1.0})
    assert handlers.substitute(inner, {"x": 2.0})()[0] == 1.0


@pytest.mark.parametrize("hide", [None, ["x"], [("x",)], lambda message: message.address == ("x",)])
def test_block_hides_sites_from_the_handlers_outside(hide):
    model = handlers.block(handlers.substitute(pair, {"x": 1.0, "y": 1.0}), hide)
    run = handlers.trace(model)()
    assert set(run.choices) == (set() if hide is None else {("y",)})


def test_trace_records_every_kind_of_statement():
    def model():
        sample("x", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(0.0, 1.0), obs=0.0)
        factor("f", 1.0)
        return deterministic("d", 3.0)

    run = handlers.trace(handlers.seed(model, KEY))()
    assert (list(run.choices), list(run.observations), list(run.deterministics)) == ([("x",)], [("y",)], [("d",)])
    assert run.value == 3.0
    assert all("test_handlers.py" in str(source) for source in run.sources.values())
    assert float(run.log_density) == float(run.log_prior + run.log_probs[("y",)] + 1.0)


def test_log_density_scores_a_run_at_given_choices():
    assert float(handlers.log_density(pair, {"x": 0.0, "y": 0.0})()) == float(score(0.0, 0, 1) + score(0.0, 0, 2))


def test_the_stack_is_restored_after_an_exception():
    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handlers.seed(handlers.condition(broken, {}), KEY)()
    assert stack() == ()


def test_handlers_of_one_thread_are_not_seen_in_another():
    seen, go = [], threading.Barrier(2)

    def work(value):
        def model():
            go.wait(timeout=10)
            seen.append((value, float(sample("x", dist.Normal(0.0, 1.0))), len(stack())))

        handlers.substitute(model, {"x": value})()

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [(0.0, 0.0, 1), (1.0, 1.0, 1)]


def test_a_handler_of_ones_own_sees_messages_going_out_and_coming_back():
    class Doubling(Handler):
        def process(self, message):
            if message.address == ("x",):
                message.value = jnp.array(1.0)

        def postprocess(self, message):
            seen.append((message.address, message.value is not None))

    seen = []
    with installed(Doubling()):
        handlers.substitute(pair, {"y": 1.0})()
    assert seen == [(("x",), True), (("y",), True), (("total",), True)]


def body(carry, _):
    return carry, sample("x", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    "inside",
    [
        lambda: jax.lax.scan(body, 0.0, None, length=3)[1],
        lambda: jax.vmap(lambda _: sample("x", dist.Normal(0.0, 1.0)))(jnp.zeros(3)),
        lambda: jax.jit(lambda: sample("x", dist.Normal(0.0, 1.0)))(),
        lambda: jax.grad(lambda mu: sample("x", dist.Normal(mu, 1.0)))(0.0),
    ],
    ids=["scan", "vmap", "jit", "grad"],
)
@pytest.mark.parametrize("wrap", [lambda m: handlers.seed(m, KEY), handlers.trace], ids=["seed", "trace"])
def test_an_eager_site_in_a_transformation_of_jax_is_refused(inside, wrap):
    """One key, or one record, would serve all the steps or lanes in silence."""
    model = inside if wrap is not handlers.trace else handlers.substitute(inside, {"x": 0.0})
    with pytest.raises(UnsupportedProgramError, match=r"site 'x' .*lawful\.scan.*lawful\.trace"):
        wrap(model)()


def test_a_whole_eager_run_may_stand_in_a_transformation():
    keys = jax.random.split(jax.random.key(9), 3)
    draws = jax.vmap(lambda key: handlers.seed(pair, key)()[0])(keys)
    alone = [handlers.seed(pair, key)()[0] for key in keys]
    np.testing.assert_allclose(draws, alone, rtol=1e-14)
    assert jax.jit(lambda key: handlers.seed(pair, key)()[0])(KEY) == handlers.seed(pair, KEY)()[0]


@pytest.mark.parametrize("outside_first", [True, False])
def test_a_site_of_a_loop_and_one_outside_never_share_a_name(outside_first):
    def model():
        if outside_first:
            sample("x", dist.Normal(0.0, 1.0))
        scan(body, 0.0, length=2)
        if not outside_first:
            sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(DuplicateSiteError):
        handlers.seed(model, KEY)()


def test_two_names_of_one_code_would_share_their_randomness():
    def model():
        sample("plumless", dist.Normal(0.0, 1.0))  # a collision of crc32
        sample("buckeroo", dist.Normal(0.0, 1.0))

    assert (jax.random.key_data(key_at(KEY, ("plumless",))) == jax.random.key_data(key_at(KEY, ("buckeroo",)))).all()
    with pytest.raises(KeyReuseError, match="'plumless' and 'buckeroo'"):
        handlers.seed(model, KEY)()


def test_seed_alone_is_not_seen_outside():
    def model():
        handlers.seed(pair, KEY, alone=True)()
        with plate("a", 2):
            return handlers.seed(pair, KEY, alone=True)()[0]

    run = handlers.trace(model)()
    assert not run.choices and run.value.shape == ()
