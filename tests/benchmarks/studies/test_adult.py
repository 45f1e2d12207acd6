"""What the classifier tells of people of the census, in bags of eight."""

import numpy as np
import pytest

from benchmarks.studies.label_proportions.data import load_llp
from benchmarks.studies.label_proportions.published import Published, PublishedClassifier


@pytest.mark.slow
def test_l7_the_published_method_as_a_classifier_does_not_settle_on_adult(data):
    X, y, _ = load_llp("adult", folder=data / "llp")
    rows = np.random.default_rng(0).permutation(len(y))[:39552]
    model = PublishedClassifier(Published(rounds=1, epochs=1, hidden=(4,)), random_state=0)
    (told,) = model.fit(X[rows], y[rows], np.arange(39552) // 8).rounds_
    assert told.form == "pairwise" and told.verdict != "converged" and told.residual > 1e-3
