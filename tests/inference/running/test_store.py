"""Laws of stores: a reader sees exactly the finished part at any moment, and never fails; memory does not grow."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from lawful import open_run
from lawful.errors import LawfulError, ResultFileError
from lawful.inference.checkpoints import draws_store as module
from lawful.inference.checkpoints.draws_store import Layout, Store
from lawful.inference.checkpoints.stored_run import without_leftovers

CHAINS, CHUNK, CHUNKS = 3, 5, 4
TOTAL = CHUNK * CHUNKS
DIMS = {"theta": ("school",)}
COORDS = {"school": ["Choate", "Deerfield"]}
GROUPS = ("posterior", "sample_stats")


def rows(start, stop):
    """Rows of a run that never ends: each number tells its place."""
    place = np.arange(CHAINS)[:, None] * 1000.0 + np.arange(start, stop)
    posterior = {"theta": np.stack([place, -place], axis=-1), "k": place.astype(np.int32)}
    return {"posterior": posterior, "sample_stats": {"lp": place + 0.5, "diverging": place % 2 == 0}}


def made(folder, total=TOTAL, **options):
    layout = Layout.of(rows(0, 1), chunk=CHUNK, dims=DIMS, coords=COORDS, **options)
    return Store.create(folder / "draws.zarr", layout, {"sampler": "mcmc", "name": "schools"}, total=total)


def write(store, start, stop):
    for group in GROUPS:
        store.write(group, start, rows(start, stop)[group])


def holds(path, n, at_least=False):
    """The finished part is there bit for bit, and nothing else."""
    tree = open_run(path)
    for group in GROUPS:
        seen = tree[group].sizes["draw"]
        assert seen >= n if at_least else seen == n
        for name, array in rows(0, seen)[group].items():
            assert tree[group][name].dtype == array.dtype
            np.testing.assert_array_equal(tree[group][name].values, array)
        assert tree[group].draw.values.tolist() == list(range(seen))
        assert tree[group].attrs == {"n_finished": seen}


@pytest.mark.parametrize("total", [TOTAL, None], ids=["known", "unknown"])
def test_after_each_chunk_a_reader_sees_exactly_the_finished_part(total, tmp_path):
    store = made(tmp_path, total)
    for start in range(0, TOTAL, CHUNK):
        holds(store.path, start)
        write(store, start, start + CHUNK)
        holds(store.path, start)  # written, and not yet counted
        store.finish(start + CHUNK)
    holds(store.path, TOTAL)
    assert store.finished == {"posterior": TOTAL, "sample_stats": TOTAL}


def spied(monkeypatch, act):
    """Do something before each file of the store changes."""
    plain = Path.replace

    def replace(self, target):
        act(Path(target))
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)


@pytest.mark.rest_slow
@pytest.mark.parametrize("total", [TOTAL, None], ids=["known", "unknown"])
def test_a_reader_between_any_two_writes_sees_finished_rows_alone(total, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2 * CHUNK)  # so that arrays grow soon
    store, looks = made(tmp_path, total), []
    write(store, 0, CHUNK)
    store.finish(CHUNK)

    def look(target):
        looks.append(target)
        holds(store.path, CHUNK, at_least=True)
        if total is not None:  # what grows may differ in length until lawful.open_run cuts it
            with without_leftovers():
                xarray.open_datatree(store.path, engine="zarr", consolidated=False).close()

    spied(monkeypatch, look)
    stop = 3 * CHUNK
    with zarr.config.set({"async.concurrency": 1}):  # readers in many writers would leave no thread
        write(store, CHUNK, stop)
        store.finish(stop)
    monkeypatch.undo()
    assert len(looks) >= 2 * len(GROUPS) + len(GROUPS)
    holds(store.path, stop)


@pytest.mark.rest_slow
@pytest.mark.parametrize("files", range(6))
def test_a_writer_that_stops_at_any_file_leaves_the_finished_part_and_goes_on_to_equal_bits(
    files, tmp_path, monkeypatch
):
    """Six files change in a chunk: two arrays a group, then two counts."""
    store = made(tmp_path)
    write(store, 0, CHUNK)
    store.finish(CHUNK)
    left = [files]

    def stop(_):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    spied(monkeypatch, stop)
    with pytest.raises(OSError, match="No space"):
        write(store, CHUNK, 2 * CHUNK)
        store.finish(2 * CHUNK)
    monkeypatch.undo()
    (store.path / "posterior" / "zarr.0123.partial").write_text("{")  # what a killed writer leaves behind
    holds(store.path, CHUNK)
    again = Store.open(store.path)
    for start in range(0, TOTAL, CHUNK):  # from a place before what is there
        write(again, start, start + CHUNK)
        again.finish(start + CHUNK)
    holds(store.path, TOTAL)


def test_rows_that_are_written_again_stay_counted(tmp_path):
    store = made(tmp_path)
    write(store, 0, 2 * CHUNK)
    store.finish(2 * CHUNK)
    write(store, 0, CHUNK)
    store.finish(CHUNK)
    holds(store.path, 2 * CHUNK)


def test_memory_holds_the_rows_of_one_write_at_most(tmp_path):
    store, known = made(tmp_path), []
    for start in range(0, TOTAL, CHUNK):
        chunk = rows(start, start + CHUNK)
        known += [weakref.ref(array) for group in chunk.values() for array in group.values()]
        for group in GROUPS:
            store.write(group, start, chunk[group])
        store.finish(start + CHUNK)
        del chunk
    gc.collect()
    assert sum(ref() is not None for ref in known) <= len(known) // CHUNKS


def test_the_store_is_a_tree_that_xarray_reads_as_it_is(tmp_path):
    data = xarray.Dataset({"y": ("school", [28.0, 8.0])}, coords=COORDS)
    store = made(tmp_path, whole={"observed_data": data})
    write(store, 0, CHUNK)
    store.finish(CHUNK)
    with xarray.open_datatree(store.path, engine="zarr", consolidated=False) as tree:
        assert tree["posterior"].theta.dims == ("chain", "draw", "school")
        assert tree["posterior"].sizes["draw"] == TOTAL
        assert np.isnan(tree["posterior"].theta.values[:, CHUNK:]).all()
        assert tree["posterior"].school.values.tolist() == COORDS["school"]
        encoding = tree["posterior"].theta.encoding
    assert encoding["chunks"] == (CHAINS, CHUNK, 2) and not encoding["compressors"]
    tree = open_run(store.path)
    assert tree.name == "schools" and tree.attrs["sampler"] == "mcmc"
    assert tree["observed_data"].y.values.tolist() == [28.0, 8.0]
    assert list(tmp_path.iterdir()) == [store.path]


def test_phases_are_cut_apart(tmp_path):
    groups = {"warmup_posterior": {"x": np.zeros((2, 4))}, "posterior": {"x": np.ones((2, 4))}}
    layout = Layout.of(groups, chunk=4)
    store = Store.create(tmp_path / "a.zarr", layout, {}, total={"warmup_posterior": 4, "posterior": 8})
    store.write("warmup_posterior", 0, groups["warmup_posterior"])
    store.finish(4)
    tree = open_run(store.path)
    assert (tree["warmup_posterior"].sizes["draw"], tree["posterior"].sizes["draw"]) == (4, 0)


@pytest.mark.parametrize(
    ("group", "start", "given", "said"),
    [
        ("prior", 0, rows(0, 1)["posterior"], "no group 'prior'"),
        ("posterior", 0, {"theta": np.zeros((CHAINS, 1, 2))}, "expected the arrays k, theta, got theta"),
        ("posterior", TOTAL - 1, rows(0, 2)["posterior"], f"rows {TOTAL - 1} to {TOTAL + 1} do not fit into the"),
        ("sample_stats", 0, {**rows(0, 1)["sample_stats"], "lp": np.zeros((CHAINS, 1), np.float32)}, "float64 rows"),
        ("sample_stats", 0, {**rows(0, 1)["sample_stats"], "lp": np.zeros((CHAINS, 2))}, r"of shape \(3, 1\)|\(3, 2\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_change_nothing(group, start, given, said, tmp_path):
    store = made(tmp_path)
    with pytest.raises(LawfulError, match=said):
        store.write(group, start, given)
    holds(store.path, 0)


def test_what_is_no_store_is_refused(tmp_path):
    for opened in (open_run, Store.open):
        with pytest.raises(ResultFileError, match="no store of a run"):
            opened(tmp_path / "nowhere.zarr")
    made(tmp_path)
    with pytest.raises(LawfulError, match="something stands there already"):
        made(tmp_path)
    (tmp_path / "draws.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ResultFileError, match="damaged"):
        open_run(tmp_path / "draws.zarr")
