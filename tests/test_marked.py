"""What markers say is found in the sources, or refused where it would be overlooked."""

import pytest

from tests.marked import Marked, marked


def file_of(folder, text):
    (folder / "test_one.py").write_text("import pytest\n\n\n" + text)
    return folder


def test_a_marker_is_found_with_what_it_names(tmp_path):
    text = '@pytest.mark.fault(2)\n@pytest.mark.fault(3, "b", a=x)\n@pytest.mark.slow\ndef test_it(): ...\n'
    assert marked("fault", file_of(tmp_path, text)) == (
        Marked("test_one.py", "test_it", (2,)),
        Marked("test_one.py", "test_it", (3, "b")),
    )
    assert not marked("kills", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "pytestmark = pytest.mark.fault(2)\n",
        "@pytest.mark.fault(2)\ndef helper(): ...\n",
        "@pytest.mark.fault(ROW)\ndef test_it(): ...\n",
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.fault(2))])\ndef test_it(x): ...\n',
    ],
)
def test_a_marker_that_would_be_overlooked_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match=r"test_one\.py:\d: fault marks no test"):
        marked("fault", file_of(tmp_path, text))
