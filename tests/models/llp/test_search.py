"""A search by bag chooses without labels of rows, and fits again to all bags."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, GroupKFold

from lawful.models.llp import LabelProportionSelfTraining, bag_scorer

N, SIZE = 120, 4


@pytest.mark.slow
def test_l9_a_search_routes_bags_fits_again_and_reads_no_labels_of_rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N)
    X, bags = rng.normal(size=(N, 2)) + 1.5 * y[:, None], rng.permutation(N) // SIZE
    other = y.copy()
    for bag in range(N // SIZE):
        other[bags == bag] = other[bags == bag][::-1]
    assert np.any(other != y)
    found = []
    with sklearn.config_context(enable_metadata_routing=True):
        for labels in (y, other):
            model = LabelProportionSelfTraining("ridge", coupling="off", cross_fit=0, random_state=0)
            model = model.set_fit_request(bags=True)
            search = GridSearchCV(model, {"rounds": [0, 1]}, cv=GroupKFold(2), scoring=bag_scorer(), refit=True)
            found.append(search.fit(X, labels, bags=bags, groups=bags))
    one, two = found
    scores = [each.cv_results_["mean_test_score"] for each in found]
    np.testing.assert_array_equal(*scores)
    assert np.isfinite(scores[0]).all() and one.best_params_ == {"rounds": [0, 1][np.argmax(scores[0])]}
    assert one.best_estimator_.n_bags_ == N // SIZE  # all bags, not those of a split
    alone = LabelProportionSelfTraining("ridge", coupling="off", cross_fit=0, random_state=0, **one.best_params_)
    np.testing.assert_array_equal(one.predict_proba(X), alone.fit(X, y, bags).predict_proba(X))
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    assert np.mean(one.predict(X) == y) > 0.8
