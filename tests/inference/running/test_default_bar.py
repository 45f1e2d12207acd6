"""The bar that nobody asked for: shown where a person watches a long run, and never at the price of a draw."""

from __future__ import annotations

import io
import sys

import numpy as np
import numpyro.distributions as dist
import pytest

import lawful
from lawful import inference
from lawful.inference import Progress, kernels
from lawful.inference.running import bar as bar_module
from lawful.inference.running import environment
from lawful.inference.running.bar import Bar

WALK = kernels.random_walk(0.5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def level(y):
    mu = lawful.sample("mu", dist.Normal(0.0, 1.0))

    def step(x, obs):
        x = lawful.sample("x", dist.Normal(x, 1.0))
        lawful.sample("y", dist.Normal(x, 1.0), obs=obs)
        return x, None

    lawful.scan(step, mu, y)


METHODS = {
    "mcmc": lambda **o: inference.mcmc(level, WALK, chains=2, warmup=3, draws=5, **o),
    "smc": lambda **o: inference.smc(level, particles=4, **o),
    "importance": lambda **o: inference.importance(level, particles=4, runs=2, **o),
    "eager importance": lambda **o: inference.importance(level, particles=4, mode="eager", **o),
    "tempered_smc": lambda **o: inference.tempered_smc(level, particles=20, **o),
    "annealed_importance": lambda **o: inference.annealed_importance(level, particles=4, kernel=WALK, ladder=2, **o),
    "smc2": lambda **o: inference.smc2(level, WALK, ["mu"], particles=4, inner=4, **o),
    "pmmh": lambda **o: inference.pmmh(level, WALK, ["mu"], particles=4, **o),
    "particle_gibbs": lambda **o: inference.particle_gibbs(level, "x", kernels.on("mu", WALK), particles=4, **o),
    "parallel_tempering": lambda **o: inference.parallel_tempering(level, WALK, **o),
    "ibis": lambda **o: inference.ibis(level, particles=20, **o),
}  # fmt: skip


@pytest.fixture
def terminal(monkeypatch):
    """Make the standard error a terminal, from when a test calls it on: pytest puts its own there before."""

    def begin():
        monkeypatch.delenv(environment.SWITCH)
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return begin


def bars(plan):
    run = getattr(plan, "run", None) or getattr(getattr(plan, "inner", None), "run", None)
    return [] if run is None else [callback for callback in run.callbacks if isinstance(callback, Bar)]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_bar_where_a_person_watches_and_none_elsewhere(method, monkeypatch):
    build = METHODS[method]
    assert not bars(build()) and not bars(build(progress=False)) and bars(build(progress=True))
    monkeypatch.delenv(environment.SWITCH)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not bars(build())  # as in a job whose errors go to a file
    monkeypatch.setattr(sys, "stderr", Terminal())
    (bar,) = bars(build())
    assert bar.wait == bar_module.WAIT == 3.0 and not bars(build(progress=False))
    monkeypatch.setenv(environment.SWITCH, "0")
    assert not bars(build())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcmc", "smc", "importance", "eager importance"])
def test_draws_are_bit_equal_with_and_without(method, terminal):
    y, told = np.array([0.5, 1.0, 0.2]), terminal()
    shown, hidden = METHODS[method](progress=True)(7, y), METHODS[method](progress=False)(7, y)
    assert list(shown.posterior) == list(hidden.posterior)
    for name, draws in hidden.posterior.items():
        np.testing.assert_array_equal(draws, shown.posterior[name])
    assert told.getvalue()


@pytest.mark.slow
def test_summed_sites_pass_the_wish_on(terminal):
    def mixture(y):
        z = lawful.sample("z", dist.Bernoulli(0.5))
        lawful.sample("y", dist.Normal(lawful.sample("mu", dist.Normal(0.0, 1.0)) + z, 1.0), obs=y)

    told = terminal()
    shown, hidden = (
        inference.mcmc(mixture, WALK, warmup=1, draws=2, enumerate=["z"], progress=wish) for wish in (True, False)
    )
    hidden(0, 0.5)
    assert not told.getvalue()
    shown(0, 0.5)
    assert told.getvalue()


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_nothing_is_shown_before_a_run_has_taken_three_seconds(with_tqdm, monkeypatch):
    if not with_tqdm:
        monkeypatch.setattr(bar_module, "_tqdm", lambda: None)
    bar = Bar(Terminal(), wait=3.0)
    for seconds in (0.1, 2.9):
        bar(Progress("sampling", 10, 100, seconds))
        assert not bar.file.getvalue()
    bar(Progress("sampling", 20, 100, 3.1))
    bar.close()
    assert "20/100" in bar.file.getvalue()


def test_a_run_that_cannot_go_in_chunks_or_has_a_bar_keeps_its_options(terminal):
    terminal()
    plan = inference.mcmc(level, WALK, chain_method="sequential")
    assert plan.run is None
    own = inference.RunOptions(callbacks=inference.progress_bar())
    assert inference.mcmc(level, WALK, run=own).run is own
    more = inference.mcmc(level, WALK, run=inference.RunOptions(chunk=7)).run
    assert more.chunk == 7 and len(more.callbacks) == 1


def test_the_kernel_of_a_notebook_is_told_by_its_shell(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class IPython:
        get_ipython = staticmethod(ZMQInteractiveShell)

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert environment.in_notebook()
    monkeypatch.setattr(IPython, "get_ipython", staticmethod(lambda: None))
    assert not environment.in_notebook()
