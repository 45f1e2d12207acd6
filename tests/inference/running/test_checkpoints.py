"""Checkpoints: what is stored is what is read, bit for bit, of any type and shape, and the last two states are kept."""

import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lawful.errors import CheckpointError, CheckpointMismatch, CorruptCheckpoint
from lawful.inference.checkpoints.checkpoint_file import TYPES, read, write
from lawful.inference.checkpoints.checkpoint_folder import flatten, generations, load, restore, save
from tests.faults.checkpoint_cases import ARRAYS, HEADER, written

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def arrays_of_any_type(draw):
    dtype = TYPES[draw(st.sampled_from(sorted(TYPES)))]
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    size = int(np.prod(shape)) * dtype.itemsize
    held = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        held = bytes(byte % 2 for byte in held)
    return np.frombuffer(held, dtype).reshape(shape)


def same_bits(a, b):
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@given(st.dictionaries(NAMES, arrays_of_any_type(), max_size=4), st.dictionaries(NAMES, st.integers() | NAMES))
def test_what_is_read_is_what_was_written(arrays, header):
    told, found = read(io.BytesIO(written(header, arrays)))
    assert told == header
    assert list(found) == list(arrays)
    assert all(same_bits(found[name], array) for name, array in arrays.items())
    assert all(array.flags.writeable for array in found.values())


def test_the_order_in_memory_does_not_matter():
    rows = np.arange(6.0).reshape(2, 3)
    for array in (rows.T, rows[:, ::-1], rows.astype(">f8"), np.asfortranarray(rows)):
        found = read(io.BytesIO(written({}, {"x": array})))[1]["x"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == np.float64


def test_equal_states_make_equal_files():
    assert written() == written()


def test_any_reader_of_npz_reads_the_arrays():
    with np.load(io.BytesIO(written()), allow_pickle=False) as found:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(found[name], array)
        assert json.loads(found["header.json"])["content"]["header"] == HEADER
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "header.json"
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a"]), np.zeros(1, [("a", "f8")]), np.zeros(1, "M8[s]")])
def test_what_the_format_cannot_hold_is_refused_when_it_is_written(array, tmp_path):
    with pytest.raises(CheckpointError, match="'odd' has the type"):
        save(tmp_path, {}, {"odd": array})
    assert generations(tmp_path) == []


def test_a_header_that_is_too_long_or_no_json_is_refused_when_it_is_written():
    with pytest.raises(CheckpointError, match="limit is 1048576"):
        write(io.BytesIO(), {"text": "x" * (1 << 20)}, {})
    with pytest.raises(CheckpointError, match="no JSON"):
        write(io.BytesIO(), {"object": object()}, {})


def test_the_last_two_generations_are_kept(tmp_path):
    folder = tmp_path / "new" / "run"
    for step in range(4):
        save(folder, {"step": step}, {})
    assert [path.name for path in generations(folder)] == ["generation-00000004.npz", "generation-00000003.npz"]
    assert sorted(path.name for path in folder.iterdir()) == ["generation-00000003.npz", "generation-00000004.npz"]
    found = load(folder)
    assert (found.header, found.skipped, found.path.name) == ({"step": 3}, (), "generation-00000004.npz")


def test_a_folder_without_a_checkpoint_is_told(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="has no checkpoint") as caught:
            load(folder)
        assert not isinstance(caught.value, CorruptCheckpoint)


def test_a_tree_comes_back_with_each_leaf_of_its_kind(tmp_path):
    tree = {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 3),
        "half": jnp.array([1.5, -0.0, jnp.nan], jnp.bfloat16),
        "nest": ({"x": jnp.arange(3)}, None, [np.float32(0.1)]),
        "numbers": (3, 0.1, True, float("inf")),
    }
    arrays, description = flatten(tree)
    save(tmp_path, {"tree": description}, arrays)
    found = load(tmp_path)
    other = jax.tree.map(lambda x: x, tree) | {"key": jax.random.key(0), "numbers": (0, 0.0, False, 0.0)}
    back = restore(found.arrays, other, found.header["tree"])
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    for old, new in zip(jax.tree.leaves(tree), jax.tree.leaves(back), strict=True):
        assert type(new) is type(old)
        if isinstance(old, jax.Array) and jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
            assert new.dtype == old.dtype
            old, new = jax.random.key_data(old), jax.random.key_data(new)
        assert same_bits(np.asarray(new), np.asarray(old))


def test_the_shapes_of_a_state_are_enough_to_read_it():
    tree = {"key": jax.random.key(3), "x": jnp.arange(3.0)}
    arrays, description = flatten(tree)
    back = restore(arrays, jax.eval_shape(lambda: {"key": jax.random.key(0), "x": jnp.zeros(3)}), description)
    assert bool(jax.random.uniform(back["key"]) == jax.random.uniform(tree["key"]))
    np.testing.assert_array_equal(back["x"], tree["x"])


def test_another_state_is_refused_leaf_by_leaf():
    arrays, description = flatten({"x": jnp.zeros(3), "y": jnp.zeros(2), "key": jax.random.key(0)})
    expected = {"x": jnp.zeros(4), "z": jnp.zeros(2), "key": jax.random.key(0, impl="rbg")}
    with pytest.raises(CheckpointMismatch) as caught:
        restore(arrays, expected, description)
    assert caught.value.differing == (
        "['key']: stored uint32[2] (key threefry2x32), expected uint32[4] (key rbg)",
        "['x']: stored float64[3], expected float64[4]",
        "['z']: stored nothing, expected float64[2]",
    )


def test_a_leaf_that_is_no_number_is_named():
    with pytest.raises(CheckpointError, match=r"\['a'\]\['b'\] is of type str"):
        flatten({"a": {"b": "text"}})
