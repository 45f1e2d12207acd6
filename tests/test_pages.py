"""The assertion on results of pages can fail, and pages name what they should."""

import re
import tomllib

from tests.pages import Page

CHAINS = """# Title

```{code-cell}
import jax, numpyro.distributions as dist, lawful
from lawful.inference import kernels, mcmc


def model():
    lawful.sample("x", dist.Normal(0.0, 1.0))


plan = mcmc(model, kernels.mh(), chains=2, warmup=0, draws=20)
```

## Read

WORDS

```{code-cell}
:tags: [remove-input]
# a comment is no heading
print(plan(jax.random.key(0)).posterior["x"].mean())
```
"""


def untold(page, words):
    page.path.write_text(CHAINS.replace("WORDS", words))
    page.run()
    return {told.split(": ")[1] for told in page.untold()}


def test_a_result_that_is_not_ok_has_to_be_named_in_the_section_that_makes_it(tmp_path):
    page = Page(tmp_path / "page.md")
    codes = untold(page, "Twenty draws.")
    assert "LOW_ESS" in codes
    assert [made.place for made in page.made] == ["page.md:22"]
    assert untold(Page(page.path), f"Twenty draws are too few: {', '.join(codes)}.") == set()


def test_code_of_a_page_is_where_the_page_has_it(tmp_path):
    page = Page(tmp_path / "page.md")
    page.path.write_text(CHAINS)
    lines = CHAINS.splitlines()
    assert [lines[block.line - 1] for block in page.blocks] == [block.code.splitlines()[0] for block in page.blocks]
    assert [block.section.splitlines()[0] for block in page.blocks] == ["# Title", "## Read"]


def test_links_of_the_readme_lead_somewhere(root):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (root / "README.md").read_text())
    assert len(links) > 20 and all((root / link).exists() for link in links)


def test_the_page_on_installation_has_every_extra(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    named = re.findall(r"^\| `(\w+)` \|", (root / "docs" / "installation.md").read_text(), re.MULTILINE)
    assert set(named) == set(project["optional-dependencies"])
