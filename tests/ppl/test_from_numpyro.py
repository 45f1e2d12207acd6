"""Models of NumPyro mean here what they mean there: the same sites, the same densities, the same gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

import lawful
from lawful import from_numpyro, inference
from lawful.form import Factor, walk
from lawful.form.choices import choices_of
from tests.ppl.numpyro_models import CASES

# NumPyro's handlers use some keys twice, where what is drawn is thrown away.
pytestmark = pytest.mark.reuses_keys
HALVES = {"diary": "mood", "relay": "a"}  # sites with obs_mask: three there, one or two here


def program_of(case):
    return from_numpyro(case.model, params=case.params, subsample=case.subsample)


def reference(case):
    """The model as NumPyro runs it, with the same parameters and rows."""
    return handlers.substitute(case.model, data={**case.params, **case.subsample})


@functools.cache
def recorded(name, x64=True):
    """One run of the model as NumPyro records it: kinds and names of its sites, its choices, and their log density."""
    case, found = CASES[name], {}

    def run():
        trace = handlers.trace(handlers.seed(reference(case), 0)).get_trace(*case.args)
        found.update(kinds(trace))
        sites = [site for site in trace.values() if site["type"] == "sample"]
        scores = [jnp.sum(s["fn"].log_prob(s["value"]) * (1.0 if s["scale"] is None else s["scale"])) for s in sites]
        return {s["name"]: s["value"] for s in sites if not s["is_observed"]}, sum(scores)

    values, score = jax.jit(run)()
    return found, values, score


def kinds(trace):
    """Names of NumPyro's sites: choices, data, factors, named values."""
    found = {"sample": set(), "observed": set(), "factor": set(), "deterministic": set()}
    for name, site in trace.items():
        if site["type"] == "deterministic":
            found["deterministic"].add(name)
        elif site["type"] == "sample":
            factor = site["infer"].get("is_auxiliary")
            found["factor" if factor else "observed" if site["is_observed"] else "sample"].add(name)
    return found


def kinds_of(form):
    found = {kind: {"/".join(c.address) for c in choices_of(form, (kind,))} for kind in ("sample", "deterministic")}
    found["observed"] = {"/".join(site.address) for site in form.sites() if site.observed is not None}
    factors = {node.address for node in walk(form) if isinstance(node, Factor)}
    found["factor"] = {"/".join(a) for a in factors if a[-1] != "weight"}  # those are what scales add to choices
    return found


LONG = {"letters", "ballots", "workshop", "bees"}  # distributions that take long to compile


def rest_slow(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in names]


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", rest_slow(CASES))
def test_a_model_has_the_sites_of_its_trace(name):
    case = CASES[name]
    expected = {kind: set(names) for kind, names in recorded(name)[0].items()}
    if name in HALVES:
        site = HALVES[name]
        expected["sample"] -= {f"{site}_unobserved"}
        expected["sample"] |= {f"{site}/missing"} if name == "relay" else set()
        expected["observed"] = expected["observed"] - {f"{site}_observed"} | {site}
        expected["deterministic"] -= {site}
    assert kinds_of(lawful.trace(program_of(case), *case.args)) == expected


def scored(case, values):
    """NumPyro's log density."""
    return float(jax.jit(lambda values: log_density(reference(case), case.args, {}, values)[0])(values))


def both_densities(name, x64=True):
    """Ours and NumPyro's at one point; NumPyro gives no values to a loop in a loop, so there its record is scored.

    Missing elements are a choice of their own name here, or none where nothing reads them: then their density there,
    which integrates to one, is left out.
    """
    case, (_, values, score) = CASES[name], recorded(name, x64)
    there = score if case is CASES["archive"] else scored(case, values)
    ours = {tuple(site.split("/")): value for site, value in values.items()}
    if name in HALVES:
        free = ours.pop((f"{HALVES[name]}_unobserved",))
        if name == "relay":
            ours["a", "missing"] = free
        else:
            lost = dist.Normal(ours["calm",], 0.7).log_prob(free)
            there -= jnp.sum(jnp.where(case.args[1], 0.0, lost))
    return float(lawful.trace(program_of(case), *case.args).log_density(ours, *case.args)), float(there)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", rest_slow(CASES))
def test_a_model_has_the_density_of_numpyro(name):
    here, there = both_densities(name)
    assert np.isfinite(there) and here == pytest.approx(there, rel=1e-12, abs=1e-12)


QUICK = {"gauge", "diary", "relay", "garden", "spring", "oven", "team", "twins"}


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in CASES])
def test_single_precision_is_as_near_as_it_can_be(name, single_precision):
    here, there = both_densities(name, x64=False)
    assert np.isfinite(there) and here == pytest.approx(there, rel=1e-6)


@pytest.mark.rest_slow
@pytest.mark.parametrize("name", ["orchard", "tide", "canal"])
def test_an_eager_run_is_scored_as_numpyro_scores_it(name):
    case = CASES[name]
    run = lawful.handlers.trace(lawful.handlers.seed(program_of(case), jax.random.key(1)))(*case.args)
    values = {}
    for address, value in run.choices.items():
        site = "/".join(part for part in address if isinstance(part, str))
        values.setdefault(site, []).append(value)
    looped = {site for address in run.choices for site in ["/".join(address[:-1])] if isinstance(address[-1], int)}
    values = {site: jnp.stack(v) if site in looped else v[0] for site, v in values.items()}
    assert float(run.log_density) == pytest.approx(scored(case, values), rel=1e-12)


def test_parameters_and_rows_can_be_arguments():
    """One form serves many parameters, and its gradient reaches them."""
    case = CASES["oven"]

    def program(params, heat):
        return from_numpyro(case.model, params=params)(heat)

    form = lawful.trace(program, case.params, *case.args)

    def here(gain):
        return form.log_density({"warm": 0.3}, {"gain": gain}, *case.args)

    def there(gain):
        return log_density(case.model, case.args, {}, {"gain": gain, "warm": 0.3})[0]

    for gain in (jnp.array([0.5, -0.2]), jnp.array([-1.0, 0.3])):
        assert float(here(gain)) == pytest.approx(float(there(gain)), rel=1e-12)
        np.testing.assert_allclose(jax.grad(here)(gain), jax.grad(there)(gain), rtol=1e-10)


def test_a_model_under_the_adapter_is_deaf_to_handlers_further_out():
    case = CASES["queue"]
    program = program_of(case)
    alone = lawful.trace(program, *case.args).log_density({"rate": 1.0}, *case.args)
    with handlers.scale(scale=7.0), handlers.trace() as heard:
        under = lawful.trace(from_numpyro(case.model), *case.args).log_density({"rate": 1.0}, *case.args)
    assert float(under) == float(alone) and not heard


def test_our_handlers_see_the_sites_by_their_addresses():
    case = CASES["twins"]
    fixed = lawful.handlers.condition(program_of(case), {("left", "side"): np.array([1.0, 2.0])})
    assert {c.name for c in choices_of(lawful.trace(fixed, *case.args))} == {"outer.right.side"}


def test_a_model_reports_the_line_of_its_user():
    form = lawful.trace(program_of(CASES["tide"]), 4)
    assert {site.source.file.rsplit("/", 1)[-1] for site in form.sites()} == {"numpyro_models.py"}
    assert {frame.name for site in form.sites() for frame in site.frames} == {"buoy"}


def test_the_stack_of_numpyro_is_left_as_it_was():
    with pytest.raises(ZeroDivisionError):
        lawful.trace(from_numpyro(lambda: 1 / 0))
    assert numpyro.primitives._PYRO_STACK == []


def test_axes_that_a_model_names_for_arviz_have_these_names():
    def model(y=None):
        with numpyro.plate("child", 2):
            z = numpyro.sample("z", dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3)), infer={"event_dims": ["trait"]})
            numpyro.sample("y", dist.Normal(z, 1.0).to_event(1), obs=y, infer={"event_dims": ["item"]})
            numpyro.sample("w", dist.Normal(z, 1.0).to_event(1), infer={"event_dims": ["a", "b"]})

    tree = inference.importance(lawful.from_numpyro(model), particles=3)(0, np.zeros((2, 3))).to_datatree()
    assert tree["posterior"].z.dims[2:] == ("child", "trait") and tree["observed_data"].y.dims == ("child", "item")
    assert tree["posterior"].w.dims[2:] == ("child", "w_dim_1")  # two names for one axis are none
