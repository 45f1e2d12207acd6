"""A fit and a posterior answer alike: one name, one signature, one shape, one set of columns."""

import inspect

import numpy as np
import pytest

from lawful.inference.results.collect import from_chains
from lawful.models.trajectories import MixtureResult, TrajectoryFit, TrajectoryPosterior

from .test_posterior import draws, posterior

MEMBERS = sorted(name for name in vars(MixtureResult) if not name.startswith("_"))


@pytest.mark.parametrize("result", [TrajectoryFit, TrajectoryPosterior])
def test_every_member_of_the_protocol_is_there_with_its_arguments_and_defaults(result):
    fields = result.__dataclass_fields__
    assert len(MEMBERS) > 20
    for name in MEMBERS:
        wanted = inspect.getattr_static(MixtureResult, name)
        if isinstance(wanted, property):
            there = fields.get(name) or inspect.getattr_static(result, name)
            assert there and not inspect.isfunction(there), name
            continue
        given = inspect.signature(getattr(result, name)).parameters
        asked = inspect.signature(wanted).parameters
        told = [(each.name, each.default, each.kind) for each in given.values()]
        assert told[: len(asked)] == [(each.name, each.default, each.kind) for each in asked.values()], name
        assert all(default is not inspect.Parameter.empty for _, default, _ in told[len(asked) :]), name


def test_both_answer_in_one_shape(two_lines, monkeypatch):
    data, fit, _ = two_lines
    found = posterior(monkeypatch, from_chains(draws()))
    for result, x in ((fit, {"x": 1.0}), (found, {"g": 1.0, "e": 5.0})):
        k, n = result.model.n_classes, result.n
        table = result.estimates(0.9)
        assert {"class", "parameter", "meaning", "estimate", "se", "lower", "upper", "flag"} <= {*table.columns}
        assert len(table) == len(result.rows) == result.values.shape[-1] == len(result.to_nlpsem_names())
        narrow, wide = (np.nansum(each.upper - each.lower) for each in (table, result.estimates()))
        assert narrow < wide
        assert result.log_likelihood_by_person.shape[-1] == n == len(result.predict())
        assert result.predict_proba().shape == (n, k) and result.class_sizes.shape == (k,)
        assert result.predict_proba(outcomes=False).sum(axis=1) == pytest.approx(np.ones(n))
        assert result.accuracy(result.predict()) == result.kappa(result) == 1.0 and 0 < result.entropy <= 1
        curves = result.curves([0.0, 1.0])
        assert curves.shape == (k, 2, 3) and (curves[..., 1] < curves[..., 0]).all()
        told = result.predict_outcome([0.0, 1.0], x)
        assert told.by_class.shape == (1, k, 2, 3) and told.marginal.shape == (1, 2, 3)
        assert result.fitted_values().shape == result.residuals().shape == result.data.y.shape
        page = result.summary()
        assert f"{k} classes, {n} persons, {result.n_parameters} parameters" in page and "class sizes" in page
