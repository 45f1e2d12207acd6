"""A checkpoint is resumed after files of the library moved: what it holds goes by names, and by no file."""

import functools
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lawful.errors import CheckpointMismatch
from lawful.inference import kernels, mcmc, registered, resume, smc
from lawful.inference.checkpoints import checkpoint_folder as checkpoints
from lawful.inference.checkpoints import form_digests
from lawful.inference.checkpoints.form_digests import content
from lawful.inference.checkpoints.recipes import decode, encode
from tests.inference.running.kept import KEPT, SEED, Y, clusters, line, walk
from tests.inference.running.test_resume import OTHERS, PLANS, arrays, assert_same
from tests.inference.running.test_resume import Y as FIVE
from tests.tiers import rest_slow

FOLDER = Path(__file__).parent / "kept"
FINISHED = 4  # draws of a chain in its file
DRAWN_OTHERWISE = ("tempered",)  # the walk of particles has other scales than when it was written


def put(name, folder):
    """Put a kept checkpoint where its run left it."""
    (folder / "generation-00000001.npz").write_bytes(gzip.decompress((FOLDER / f"{name}.npz.gz").read_bytes()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By name, the run that goes on from a kept checkpoint, and the same run from its beginning."""

    @functools.cache
    def both(name):
        folder = tmp_path_factory.mktemp(name)
        put(name, folder)
        program, build = KEPT[name]
        return resume(folder, program, Y), build(None)(SEED, Y)

    return both


def rounded_alike(result, whole):
    """Whether the draws of a chain that are in its file have the bits that they are given here."""
    old, new = arrays(result), arrays(whole)
    return all(np.array_equal(old[name][:, :FINISHED], new[name][:, :FINISHED]) for name in new)


@pytest.mark.parametrize("name", rest_slow(KEPT))
def test_a_kept_checkpoint_is_resumed(name, runs):
    """As the same run today, to the bit where numbers are rounded as then; another version may draw otherwise."""
    result, whole = runs(name)
    assert result.finished == whole.finished and not result.interrupted
    elsewhere = {f.message.split(":")[0] for f in result.found if f.code == "RESUMED_ELSEWHERE"} - {"lawful"}
    old, new = arrays(result), arrays(whole)
    assert old.keys() == new.keys()
    if name in DRAWN_OTHERWISE:
        return
    for part in () if elsewhere else new:
        np.testing.assert_allclose(old[part], new[part], 1e-9, 1e-9, err_msg=part)
    if not elsewhere and rounded_alike(*runs("tuned")):
        assert_same(result, whole)


def test_kept_checkpoints_of_populations_are_from_before_the_moves(tmp_path):
    for name in ("filtered", "tempered", "older_chains"):
        put(name, tmp_path)
        recipe = checkpoints.load(tmp_path).header["recipe"]
        assert "lawful.inference.check.contracts:Contract" in json.dumps(recipe)


def test_a_checkpoint_of_chains_in_a_loop_that_is_gone_is_refused(tmp_path):
    put("older_chains", tmp_path)
    with pytest.raises(CheckpointMismatch, match="older version of lawful"):
        resume(tmp_path, clusters, Y)


def test_a_checkpoint_from_before_the_moves_is_compared_with_what_goes_on(tmp_path):
    put("filtered", tmp_path)
    with pytest.raises(CheckpointMismatch, match="settings move"):
        resume(tmp_path, smc(walk, particles=10, runs=2, move=kernels.barker()), Y)
    put("tuned", tmp_path)
    with pytest.raises(CheckpointMismatch, match="site scale"):
        resume(tmp_path, lambda y: line(y, wide=3.0), Y)
    with pytest.raises(CheckpointMismatch, match="settings draws"):
        resume(tmp_path, mcmc(line, kernels.hmc(n_steps=2), chains=2, warmup=4, draws=5), Y)


NESTED = {name: OTHERS[name] for name in ("correlated pairs", "squared")}  # an algorithm is a part of their program
ALL = {name: (program, build, FIVE) for name, (program, build) in {**NESTED, **PLANS, **OTHERS}.items()}
ALL |= {name: (program, build, Y) for name, (program, build) in KEPT.items()}
ALL |= {"summed": (clusters, lambda run: mcmc(clusters, kernels.slice(), enumerate=["which"], run=run), Y)}


@pytest.mark.parametrize("name", rest_slow(ALL, 6))
def test_what_a_checkpoint_says_of_its_run_names_no_file_of_the_library(name, monkeypatch):
    told, short = [], form_digests.short
    monkeypatch.setattr(form_digests, "short", lambda *parts: told.append(repr(parts)) or short(*parts))
    _, build, data = ALL[name]
    plan = build(None)
    header = plan.header(plan.prepare((data,)))
    assert header["recipe"]
    assert [text for text in (json.dumps(header), *told) if re.search(r"lawful[./]\w|\.py\b", text)] == []


def test_what_moved_is_told_and_found_as_before(monkeypatch):
    setting = kernels.repeat(kernels.mh(kernels.random_walk(0.5)), 2)
    held = kernels.nuts, type(setting), setting
    before = content(held), encode(setting)
    for each in held[:2]:
        monkeypatch.setattr(each, "__module__", "lawful.elsewhere")
    assert (content(held), encode(setting)) == before and decode(before[1]) == setting


def test_a_name_stands_for_one_class_and_so_does_its_place_in_older_files():
    kinds = registered._names
    assert len(set(kinds.values())) == len(kinds) == len({kind.__qualname__ for kind in kinds})
    for kind, name in kinds.items():
        older = f"lawful.inference.gone:{kind.__qualname__}"
        assert registered.registered(name) is registered.registered(older) is kind
        assert kind.__dataclass_params__.frozen
