"""Two results that are one, bit for bit."""

import numpy as np


def assert_same(one, other):
    """All arrays of two results are equal, bit for bit."""
    for first, second in [
        (one.posterior, other.posterior),
        (one.stats, other.stats),
        (one.warmup and one.warmup.posterior, other.warmup and other.warmup.posterior),
        (one.warmup and one.warmup.stats, other.warmup and other.warmup.stats),
        (one.weighted and one.weighted.values, other.weighted and other.weighted.values),
    ]:
        assert (first is None) == (second is None)
        assert list(first or ()) == list(second or ())
        for name in first or ():
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    if one.weighted is not None:
        np.testing.assert_array_equal(one.weighted.log_weight, other.weighted.log_weight)
        np.testing.assert_array_equal(one.log_evidence, other.log_evidence)
    for name in {"step_size", "inverse_mass"} & {*one.run, *other.run}:
        np.testing.assert_array_equal(one.run[name], other.run[name], err_msg=name)
    assert [f.code for f in one.found] == [f.code for f in other.found]
    assert (one.finished, one.interrupted) == (other.finished, other.interrupted)
    for a, b in zip(one.state or (), other.state or (), strict=True):
        np.testing.assert_array_equal(a, b)
