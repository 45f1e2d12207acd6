"""The hidden Markov model of the reference data, known to 60 digits, by both methods."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from lawful.inference.graphs.chains import best_path, chain, filtered, marginals

pytestmark = pytest.mark.reference


@pytest.mark.rest_slow
@pytest.mark.parametrize("method", ["sequential", "associative"])
def test_the_categorical_model_has_its_published_answers(data, method):
    case = json.loads((data / "exact" / "hmm_categorical.json").read_text())
    model, exact = case["model"], case["exact"]
    emission = jnp.log(jnp.array(model["emission"]))
    given = chain(
        emission[:, jnp.array(case["data"]["y"])].T,
        jnp.log(jnp.array(model["transition"])),
        initial=jnp.log(jnp.array(model["init"])),
    )
    forward, found, best = filtered(given, method), marginals(given, "none", method), best_path(given, method)
    assert exact["log_evidence"] == -53.28711520689624
    for log_z in (forward.log_z, found.log_z):
        assert float(log_z) == pytest.approx(exact["log_evidence"], abs=1e-10, rel=0)
    np.testing.assert_allclose(forward.increments, exact["log_evidence_increments"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(jnp.exp(forward.log_law), exact["filter"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.node, exact["smoother"], rtol=0, atol=1e-10)
    assert best.path.tolist() == exact["viterbi_path"]
    assert float(best.value) == pytest.approx(exact["viterbi_log_joint"], abs=1e-10, rel=0)
