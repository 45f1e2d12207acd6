"""Row 24: a traced value that leaves its program is found at once, with the name of the site and of the variable."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import handlers, inference, sample, scan
from lawful.errors import ImpureProgramError
from lawful.inference import kernels

KEY = jax.random.key(24)
STORED = None
KEPT = {}


def appends():
    seen = []

    def model():
        x = sample("x", dist.Normal(0.0, 1.0))
        seen.append(x)
        return x

    return model


def assigns_a_global():
    def model():
        global STORED
        STORED = sample("x", dist.Normal(0.0, 1.0))
        return STORED

    return model


def fills_a_dict():
    def model():
        KEPT["last"] = (sample("x", dist.Normal(0.0, 1.0)),)

    return model


def sets_a_variable():
    last = None

    def model():
        nonlocal last
        last = sample("x", dist.Normal(0.0, 1.0))
        return last

    return model


def sets_an_attribute():
    class Model:
        last = None

        def __call__(self):
            return self.run()

        def run(self):
            self.last = sample("x", dist.Normal(0.0, 1.0))
            return self.last

    return Model().run


def inside_a_scan():
    seen = []

    def model():
        def step(c, _):
            c = sample("x", dist.Normal(c, 1.0))
            seen.append(c)
            return c, None

        return scan(step, 0.0, length=2)[0]

    return model


MAKERS = [appends, assigns_a_global, fills_a_dict, sets_a_variable, sets_an_attribute, inside_a_scan]
PLACES = {
    appends: "variable 'seen'",
    assigns_a_global: "global 'STORED'",
    fills_a_dict: "global 'KEPT'",
    sets_a_variable: "variable 'last'",
    sets_an_attribute: "attribute 'last'",
    inside_a_scan: "variable 'seen'",
}


@pytest.fixture(autouse=True)
def clean():
    global STORED
    yield
    STORED = None
    KEPT.clear()


@pytest.mark.fault(24)
@pytest.mark.parametrize("make", MAKERS)
def test_f24_a_stored_site_value_names_site_and_place(make):
    with pytest.raises(ImpureProgramError) as caught:
        lawful.trace(make())
    assert caught.value.site == ("x",) and caught.value.place == PLACES[make]
    message = str(caught.value)
    assert f"site 'x' ({__file__}:" in message and PLACES[make] in message and "lawful.deterministic" in message


@pytest.mark.parametrize("make", MAKERS)
def test_f24_eager_runs_may_store_what_they_draw(make):
    handlers.seed(make(), KEY)()


@pytest.mark.parametrize("wrap", [lambda m: handlers.condition(m, {"y": 0.0}), lambda m: handlers.scope(m, "a")])
def test_f24_handlers_around_the_program_do_not_hide_it(wrap):
    seen = []

    def model():
        seen.append(sample("x", dist.Normal(0.0, 1.0)))
        sample("y", dist.Normal(0.0, 1.0))

    with pytest.raises(ImpureProgramError, match=r"x' \(.*variable 'seen'"):
        lawful.trace(wrap(model))


@pytest.mark.parametrize(
    "build", [lambda m: inference.importance(m, particles=4), lambda m: inference.mcmc(m, draws=4)]
)
def test_f24_every_compiled_inference_says_so(build):
    with pytest.raises(ImpureProgramError, match="variable 'seen'"):
        build(appends())(KEY)


def test_f24_other_traced_values_are_found_too():
    seen = []

    def model(y):
        seen.append(2 * y)
        sample("y", dist.Normal(0.0, 1.0), obs=y)

    with pytest.raises(ImpureProgramError, match=r"a traced value .*variable 'seen'"):
        lawful.trace(model, 1.0)


def test_f24_a_value_of_an_earlier_trace_is_refused_where_it_is_met():
    store = []
    jax.jit(lambda x: store.append(x) or x)(1.0)

    def model():
        return sample("x", dist.Normal(store[0], 1.0))

    with pytest.raises(ImpureProgramError, match=r"test_f24_side_effects\.py:\d+ that an earlier run"):
        lawful.trace(model)


def test_f24_what_the_program_reads_from_outside_is_no_fault():
    data = [np.ones(3), jnp.ones(2)]

    def traced_outside(scale):
        values = {"scale": scale}
        form = lawful.trace(lambda: sample("x", dist.Normal(0.0, values["scale"])))
        return form.log_density({"x": 1.0})

    assert np.isfinite(jax.jit(traced_outside)(2.0))
    assert lawful.trace(lambda: sample("x", dist.Normal(data[0].sum(), data[1][0])))


def test_f24_lists_inside_the_program_are_no_fault():
    def model():
        seen = []

        def part():
            seen.append(sample("x", dist.Normal(0.0, 1.0)))

        handlers.scope(part, "a")()
        return sum(seen)

    assert len(lawful.trace(model).outputs) == 1


def test_f24_no_tracer_is_left_behind():
    with jax.checking_leaks():
        form = lawful.trace(lambda y: sample("y", dist.Normal(sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y), 0.5)
    assert np.isfinite(float(form.log_density({"x": 0.0}, 0.5)))


def walk(y):
    scale = sample("scale", dist.LogNormal(0.0, 1.0))

    def step(x, y):
        x = sample("x", dist.Normal(x, scale))
        sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, 0.0, y)


STEP, FEW = kernels.random_walk(0.1), {"chains": 1, "warmup": 2, "draws": 6}
METHODS = {
    "importance": lambda: inference.importance(walk, particles=10),
    "smc": lambda: inference.smc(walk, particles=10),
    "chunks": lambda: inference.smc(walk, particles=10, run=inference.RunOptions(chunk=1)),
    "tempered": lambda: inference.tempered_smc(walk, particles=20),
    "annealed": lambda: inference.annealed_importance(walk, particles=10, ladder=2),
    "smc2": lambda: inference.smc2(walk, STEP, ["scale"], particles=5, inner=4),
    "mh": lambda: inference.mcmc(walk, **FEW),
    "nuts": lambda: inference.mcmc(walk, kernels.nuts(), **FEW),
    "pmmh": lambda: inference.pmmh(walk, STEP, ["scale"], particles=5, **FEW),
    "particle_gibbs": lambda: inference.particle_gibbs(walk, "x", kernels.on("scale", STEP), particles=5, **FEW),
    "parallel_tempering": lambda: inference.parallel_tempering(walk, STEP, powers=(0.5, 1.0), **FEW),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_f24_no_method_leaves_a_tracer_behind(name):
    with jax.checking_leaks():
        result = METHODS[name]()(KEY, np.array([0.1, 0.2, 0.3]))
        assert result.to_datatree()["posterior"]["scale"].shape[0] == 1
