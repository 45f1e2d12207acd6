"""Blocks hold every bag with a known count once, with its members and what is said of its count."""

import numpy as np
import pytest

from lawful.errors import ObservationError
from lawful.models.llp import Bags
from lawful.models.llp.bags.blocks import blocks_of


def random_bags(seed):
    random = np.random.default_rng(seed)
    ids = random.choice(12, size=150, p=(p := random.dirichlet(0.4 * np.ones(12))) / p.sum())
    return Bags.from_labels(random.integers(0, 2, 150), ids)


@pytest.mark.parametrize("seed", range(4))
def test_each_bag_is_one_row_of_one_block(seed):
    bags = random_bags(seed)
    rows = [(n, m, c, s, w) for b in blocks_of(bags) for m, c, s, w, n in zip(*b, strict=True)]
    assert sorted(n for n, *_ in rows) == np.flatnonzero(bags.sizes > 0).tolist()
    for number, members, count, size, weights in rows:
        assert (
            members[: int(size)].tolist() == bags.members_of(int(number)).tolist()
            and (members[int(size) :] == -1).all()
        )
        assert count == bags.counts[number] and size == bags.sizes[number]
        assert np.flatnonzero(weights == 0).tolist() == [int(count)] and np.isneginf(weights).sum() == len(members)


def test_bags_of_one_size_are_one_block_without_filling():
    (block,) = blocks_of(Bags.from_ids(np.arange(12) // 3, counts=[0, 1, 2, 3]))
    assert block.members.tolist() == np.arange(12).reshape(4, 3).tolist()


def test_bags_without_a_count_are_left_out_and_none_at_all_is_refused():
    (block,) = blocks_of(Bags.from_ids([0, 0, 1, 1], counts=[np.nan, 1]))
    assert block.numbers.tolist() == [1]
    with pytest.raises(ObservationError, match="no bag has members and a known count"):
        blocks_of(Bags.from_ids([0, 0], counts=[np.nan]))
    with pytest.raises(ObservationError, match="counts of 3 classes"):
        blocks_of(Bags.from_ids([0, 0], counts=[[1, 1, 0]]))
