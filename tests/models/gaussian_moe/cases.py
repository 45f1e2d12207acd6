"""Random mixtures and data, from a seed."""

import numpy as np

from lawful.models.gaussian_moe import Gate, Parameters

TRUTH = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
GATES = {
    "softmax": Gate(),
    "top 1": Gate("topk", top_k=1),
    "top 2": Gate("topk", top_k=2),
    "top 2 by slope": Gate("topk", top_k=2, selection="slope"),
    "temperature": Gate("temperature"),
    "logistic": Gate("activated"),
    "tanh": Gate("activated", activation="tanh"),
    "gelu": Gate("activated", activation="gelu"),
}


def random_parameters(rng, k=3, d=2):
    return Parameters.of(
        rng.normal(size=(k, d)),
        rng.normal(size=k),
        rng.normal(size=(k, d)),
        rng.normal(size=k),
        rng.uniform(0.2, 2.0, k),
        rng.uniform(0.3, 2.0),
    )


def random_case(seed, k=3, d=2, n=7):
    rng = np.random.default_rng(seed)
    return random_parameters(rng, k, d), rng.normal(size=(n, d)), rng.normal(size=n), rng
