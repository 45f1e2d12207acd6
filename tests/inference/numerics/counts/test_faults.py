"""Wrong input is told at once, with what was given, what was expected and what to do."""

import jax.numpy as jnp
import pytest

from lawful.errors import IndexRangeError, LawfulError, NonFiniteError, ObservationError
from lawful.inference.graphs import counts
from lawful.inference.graphs.counts import arguments

H, G = jnp.zeros((2, 3)), jnp.zeros((2, 4))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: counts.messages(H, jnp.zeros((2, 3))), ObservationError, "counts 0 to 3"),
        (lambda: counts.messages(H, jnp.zeros((3, 4))), ObservationError, "same leading axes"),
        (lambda: arguments.check(jnp.array(0.0), G, "messages", 4), ObservationError, "axis of members"),
        (lambda: counts.messages(H, G.astype(jnp.float32)), ObservationError, "float32"),
        (lambda: counts.messages(H.astype(jnp.float16), G.astype(jnp.float16)), ObservationError, "float16"),
        (lambda: counts.messages(H.at[1, 2].set(jnp.nan), G), NonFiniteError, r"\(1, 2\)"),
        (lambda: counts.log_evidence(H, G.at[0, 1].set(jnp.inf)), NonFiniteError, r"\(0, 1\)"),
        (lambda: counts.messages(H, G, method="magic"), LawfulError, "choose one of auto"),
        (lambda: counts.messages(H, G, accuracy=0.0), IndexRangeError, "positive"),
        (lambda: counts.messages(H, G, negated=jnp.zeros(2, bool)), ObservationError, "one flag for each member"),
        (lambda: counts.push_members(jnp.zeros((2, 3)), H, G), ObservationError, "uniforms_needed"),
        (lambda: counts.potentials.hard_count(1, -1), ObservationError, "0 or more"),
        (lambda: counts.multiclass_solve(H, jnp.array([1, 1])), ObservationError, "logits"),
    ],
)
def test_wrong_input_is_told(call, kind, text):
    with pytest.raises(kind, match=text) as caught:
        call()
    assert "Fix: " in str(caught.value)
