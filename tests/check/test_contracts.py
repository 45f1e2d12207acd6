import pytest

from lawful.errors import LawfulError
from lawful.inference.check import Contract
from lawful.inference.contract import KERNELS, KINDS


def test_every_kind_but_a_bound_is_an_equality():
    assert [kind for kind in KINDS if not Contract(kind).exact] == ["bound"]


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(LawfulError, match="properly_weighted"):
        Contract("exactly_right")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in KERNELS])
def test_only_kernels_can_claim_to_be_reversible(kind):
    with pytest.raises(LawfulError, match="only kernels"):
        Contract(kind, reversible=True)
    assert Contract("invariant_kernel", reversible=False).reversible is False


def test_contracts_are_values():
    assert Contract("bound", target="log Z") == Contract("bound", target="log Z")
    assert len({Contract("involution"), Contract("involution")}) == 1
