"""`lawful.models`: ordinary programs, written with the public language and run by the public inference."""

if __name__ == "models":
    raise ImportError(
        "import lawful.models, not models: "
        "the folder models/ is installed as the package lawful.models (run make setup)"
    )

from . import (
    covariances,
    dynamic,
    gaussian_moe,
    gaussian_process,
    grammar,
    hierarchical,
    latent_classes,
    llp,
    mixtures,
    monad_bayes,
    networks,
    papers,
    populations,
    regression,
    state_space,
    trajectories,
)
from .state_space import LinearGaussian, local_level

__all__ = [
    "LinearGaussian",
    "covariances",
    "dynamic",
    "gaussian_moe",
    "gaussian_process",
    "grammar",
    "hierarchical",
    "latent_classes",
    "llp",
    "local_level",
    "mixtures",
    "monad_bayes",
    "networks",
    "papers",
    "populations",
    "regression",
    "state_space",
    "trajectories",
]


def __dir__() -> list[str]:
    """List the public names; submodules can be imported none the less."""
    return sorted(__all__)
