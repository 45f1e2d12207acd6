"""What the true parameters can tell of classes: accuracies of the published conditions, by the covariates used.

The numbers are of section 10 of the specification, 60,000 simulated persons each, as many as here: the difference of
two such accuracies has an error of at most 0.0023, and 0.007 is exceeded by one of 28 one time in a hundred.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lawful.models.trajectories import Design, Model, accuracy, log_memberships, panel, simulate_trajectories

APART = ((100.0, -5.0, -2.2), (100.0, -5.0, -3.8))  # Mahalanobis distance 1.72
DOUBLED = (float(np.log(2.0)), float(np.log(1.5)), float(np.log(1.7)))
CONDITIONS = {  # full, gate covariates only, growth covariates only, none
    "default": (Design(), (0.900, 0.892, 0.891, 0.881)),
    "residual variance 2": (Design(noise=2.0), (0.870, 0.860, 0.856, 0.844)),
    "knots 3.75, 5.25": (Design(shapes=(3.75, 5.25)), (0.878, 0.870, 0.867, 0.858)),
    "knots 4, 5": (Design(shapes=(4.0, 5.0)), (0.844, 0.836, 0.829, 0.817)),
    "distance 1.72": (Design(factors=APART), (0.943, 0.935, 0.939, 0.930)),
    "distance 1.72, knots 4, 5": (Design(factors=APART, shapes=(4.0, 5.0)), (0.907, 0.897, 0.898, 0.887)),
    "intercept log 2": (Design(gate=DOUBLED), (0.913, 0.908, 0.906, 0.899)),
}


def share_of_second(design):
    """The probability of the second class, gate covariates not known."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = np.sqrt(np.array(design.gate[1:]) @ design.covariance @ np.array(design.gate[1:]))
    return weights @ (1 / (1 + np.exp(-design.gate[0] - spread * nodes))) / weights.sum()


def reduced(design, gate, growth):
    """The parameters that are left where covariates are not known, and the model they are of."""
    p = jax.tree.map(np.asarray, design.parameters)
    if not gate:
        share = share_of_second(design)
        p = p._replace(gate=np.array([[0.0], [np.log(share / (1 - share))]]))
    if not growth:
        root = [
            np.linalg.cholesky(c @ c.T + s @ x @ x.T @ s.T) for c, s, x in zip(p.chol, p.slope, p.x_chol, strict=True)
        ]
        p = p._replace(chol=np.array(root), slope=p.slope[:, :, :0], x_mean=p.x_mean[:, :0], x_chol=p.x_chol[:, :0, :0])
    return p, Model("BLS", 2, 2 * gate, 2 * growth)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONS)
def test_the_rule_with_the_true_parameters_is_as_accurate_as_published(name):
    design, published = CONDITIONS[name]
    data, labels = simulate_trajectories(jax.random.key(7), n=60_000, design=design)
    y, t = (np.stack([data[f"{each}{j}"] for j in range(1, 11)], axis=1) for each in "YT")
    gates, growths = np.c_[data["gx1"], data["gx2"]], np.c_[data["ex1"], data["ex2"]]
    found = []
    for gate, growth in ((True, True), (True, False), (False, True), (False, False)):
        p, model = reduced(design, gate, growth)
        at = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], p)
        seen = panel(y, t, gates if gate else None, growths if growth else None)
        found.append(accuracy(np.argmax(log_memberships(at, seen, model), axis=0), labels))
    print(name, np.round(found, 3), published)
    np.testing.assert_allclose(found, published, atol=0.007)
