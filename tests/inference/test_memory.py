"""Memory is told before a run: what a form holds at one time, what chains keep, what the system leaves."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest

from lawful import inference, sample, scan, trace
from lawful.form import Plate, Var
from lawful.form.builder import Block
from lawful.inference import kernels
from lawful.inference.running import memory
from lawful.inference.running.memory import Free

ITEM = jnp.zeros(()).dtype.itemsize


def test_a_value_counts_from_the_node_that_makes_it_to_the_last_that_reads_it():
    block, given = Block(), Var((100,), jnp.zeros(()).dtype)
    first = block.det(lambda x: jnp.tile(x, 10), given, label="first")  # 100 + 1000
    second = block.det(lambda x: x[:400], first, label="second")  # 100 + 1000 + 400, then 100 + 400
    third = block.det(lambda x: jnp.tile(x, 2), second, label="third")  # 100 + 400 + 800
    assert memory.peak_bytes(block.form((given,), (third,))) == 1500 * ITEM
    assert memory.peak_bytes(block.form((given,), (first, third))) == 2300 * ITEM


def test_what_a_step_of_a_loop_makes_comes_on_top_of_what_the_loop_keeps():
    def model():
        def step(x, _):
            wide = sample("wide", dist.Normal(x, 1.0).expand([1000]).to_event(1))
            return wide.mean(), wide[0]

        return scan(step, 0.0, None, length=50)[1]

    found = memory.peak_bytes(trace(model))
    assert 1050 * ITEM <= found <= 3300 * ITEM


def test_keys_and_plates_are_counted():
    value = Var((3,), jnp.zeros(()).dtype, (Plate("particle", 7),))
    assert memory.bytes_of(value) == 21 * ITEM
    assert memory.bytes_of(Var((), jax.random.key(0).dtype)) == 8


def model():
    sample("x", dist.Normal(0.0, 1.0).expand([200]).to_event(1))


@pytest.mark.parametrize("kernel", [kernels.random_walk(0.1), kernels.nuts()], ids=repr)
@pytest.mark.parametrize("thin", [1, 2])
def test_chains_need_what_they_keep(kernel, thin):
    """All states of warm-up and draws, with a few numbers for each step, and some states on their way."""
    plan = inference.mcmc(model, kernel, chains=4, warmup=300, draws=300 * (3 - thin), thin=thin)
    states = 4 * 200 * (300 + 300 * (3 - thin)) * ITEM
    assert states <= plan.memory() <= 1.2 * states


def test_chains_one_by_one_are_put_side_by_side_at_the_end():
    side, alone = (
        inference.mcmc(model, kernels.random_walk(0.1), chains=4, warmup=300, draws=300, chain_method=method).memory()
        for method in ("vectorized", "sequential")
    )
    assert 1.8 <= alone / side <= 2.2


def test_a_population_without_histories_needs_less():
    def walk():
        def step(x, _):
            x = sample("x", dist.Normal(x, 1.0))
            sample("y", dist.Normal(x, 1.0), obs=0.0)
            return x, None

        return scan(step, 0.0, None, length=100)[0]

    paths, last = (inference.smc(walk, particles=1000, keep=keep).memory() for keep in ("paths", "last"))
    assert paths >= 100 * 1000 * ITEM > last


def test_the_system_says_what_is_left(tmp_path, monkeypatch):
    groups, proc = tmp_path / "groups", tmp_path / "proc"
    inner = groups / "outer" / "inner"
    for folder, limit, used in ((groups / "outer", "1000", "300"), (inner, "900", "100")):
        folder.mkdir(parents=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 50\n")
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/outer/inner\n")
    (proc / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 3 kB\nSwapFree: 2 kB\n")
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(memory, "GROUPS", groups)
    assert Free(750, "the control group of the process") in memory.free_memory()
    assert Free(5 * 1024, "the memory of the machine") in memory.free_memory()
    (groups / "outer" / "memory.max").write_text("max\n")
    assert Free(850, "the control group of the process") in memory.free_memory()


def test_a_system_that_says_nothing_sets_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert [free for free in memory.free_memory() if not free.on_device] == []
