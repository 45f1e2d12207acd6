"""Further persons are read as those of the fit were, and known as well by their outcomes or by the gate alone."""

import numpy as np
import pytest

from lawful.errors import LawfulError
from lawful.models.trajectories import TrajectoryMixture


def test_persons_of_the_fit_are_predicted_as_they_were_classified_alone_or_together(two_lines):
    data, gated, plain = two_lines
    np.testing.assert_allclose(gated.predict_proba(data), gated.predict_proba(), rtol=1e-9)
    one = {name: column[3:4] for name, column in data.items()}
    np.testing.assert_allclose(gated.predict_proba(one)[0], gated.predict_proba()[3], rtol=1e-9)
    seen = gated.predict_proba(one, outcomes=False)[0]
    odds = gated.to_nlpsem_names()
    expected = odds["beta20"] + odds["beta21"] * one["x"][0]
    assert np.log(seen[1] / seen[0]) == pytest.approx(expected, rel=1e-9)
    unseen = one | {f"Y{j}": [np.nan] for j in range(1, 5)}
    np.testing.assert_allclose(gated.predict_proba(unseen)[0], seen, rtol=1e-9)
    with pytest.raises(LawfulError, match="no gate covariates"):
        plain.predict_proba(data, outcomes=False)


def test_times_of_further_persons_are_centred_as_those_of_the_fit(two_lines):
    data, _, plain = two_lines
    late = data | {f"T{j}": data[f"T{j}"] + 50.0 for j in range(1, 5)}
    rows = {
        "id": np.repeat(np.arange(80), 4),
        "t": np.stack([late[f"T{j}"] for j in range(1, 5)], axis=1).ravel(),
        "y": np.stack([late[f"Y{j}"] for j in range(1, 5)], axis=1).ravel(),
    }
    fit = TrajectoryMixture(2, "LIN", n_starts=4).fit(rows, id="id", t_var="t", y_var="y", center_time="own_first")
    assert fit.minus2ll == pytest.approx(plain.minus2ll, abs=1e-6)
    np.testing.assert_allclose(fit.predict_proba(rows), fit.predict_proba(), rtol=1e-9)
