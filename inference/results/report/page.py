"""The page of a report: what stands where, and how it looks.

Law: the template marks nothing as safe but the picture of the model, whose names are text already, so whatever a model
or its data put on the page is shown and never read as markup.
"""

from __future__ import annotations

import functools
from typing import Any

from lawful.errors import LawfulError

STYLE = """
.lawful{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:64em}
.lawful h1{font-size:1.5em;margin:.3em 0}.lawful h2{font-size:1.15em;margin:1.6em 0 .4em;border-bottom:1px solid #ddd}
.lawful .verdict{padding:.7em 1em;border-left:6px solid;border-radius:4px}
.lawful .ok{border-color:#2a7d2a;background:#eef7ee}.lawful .bad{border-color:#b3261e;background:#fcefee}
.lawful .verdict b{font-size:1.15em}.lawful .verdict ul{margin:.4em 0 0;padding-left:1.2em}
.lawful code{font-size:.9em}.lawful pre{background:#f6f6f6;padding:.8em;overflow:auto;font-size:12.5px;line-height:1.4}
.lawful table{border-collapse:collapse;font-size:13.5px}
.lawful td,.lawful th{padding:.2em .7em;border-bottom:1px solid #e5e5e5;text-align:right}
.lawful td:first-child,.lawful th:first-child,.lawful .words td{text-align:left}
.lawful .wide{overflow-x:auto}.lawful .fail td{color:#b3261e;font-weight:600}
.lawful img{max-width:100%;display:block}.lawful summary{cursor:pointer}.lawful details{margin:.5em 0}
.lawful .h2{font-size:1.15em;font-weight:600;margin:1em 0 .4em;border-bottom:1px solid #ddd}
.lawful .call{white-space:pre-wrap}.lawful .note{color:#666;font-size:.9em}
"""

PARTS = """
{% macro verdict() %}
<div class="verdict {{ 'ok' if ok else 'bad' }}"><b>{{ headline }}</b>
{% if findings %}<ul>{% for f in findings %}<li><code>{{ f.code }}</code> {{ f.message }}</li>{% endfor %}</ul>
{% endif %}
</div>
<p>{{ summary }}{% if evidence %}<br>log evidence <b>{{ evidence.pooled }}</b> &plusmn; {{ evidence.error }}
over {{ evidence.runs|length }} {{ 'run' if evidence.runs|length == 1 else 'runs' }}{% endif %}</p>
{% endmacro %}
{% macro rows(variables, part) %}<table><tr>{% for name in variables.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in part %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>{% endmacro %}
{% macro table(variables, left, unfold) %}
{% if variables %}<div class="wide">{{ rows(variables, variables.first) }}</div>
{% if variables.rest and unfold %}<details><summary>{{ variables.rest|length }} more</summary>
<div class="wide">{{ rows(variables, variables.rest) }}</div></details>{% endif %}
{% if left %}<p class="note">and {{ left }} more, which the result holds</p>{% endif %}
{% else %}<p>There is no draw to show.</p>{% endif %}
{% endmacro %}
{% macro image(plot) %}<img alt="{{ plot.title }}" src="data:image/png;base64,{{ plot.code }}">{% endmacro %}
{% macro pairs(rows) %}<table class="words">{% for name, value in rows %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endmacro %}
"""

FIRST_SCREEN = (
    PARTS + """<div class="lawful"><style>{{ style }}</style>{{ verdict() }}{{ table(variables, left, False) }}</div>"""
)

PAGE = (
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ headline }}</title><style>body{margin:1.5em auto;max-width:66em;padding:0 1em}{{ style }}</style></head>
<body><div class="lawful">
"""
    + PARTS
    + """<h1>{{ title }}</h1>
{{ verdict() }}
<h2>Model</h2>
{% if picture %}<div class="wide">{{ picture|safe }}</div>
<p class="note">Filled: observed. Empty: latent. Dashed: a named value. Square: a factor. Box: a plate or a loop with
its size. Dashed arrow: read in a later step.</p>{% elif picture_note %}<p>{{ picture_note }}</p>{% endif %}
{% if program %}<details><summary>The program as it was traced</summary><pre>{{ program }}</pre></details>{% endif %}
<h2>Variables</h2>{{ table(variables, left, True) }}
{% for plot in plots if plot.name == "predictions" %}<h2>Predictions</h2>{{ image(plot) }}{% endfor %}
<h2>Checks</h2><table><tr><th>check</th><th>value</th><th>limit</th><th></th></tr>
{% for row in checks %}<tr{% if not row.ok %} class="fail"{% endif %}><td>{{ row.name }}</td><td>{{ row.value }}</td>
<td>{{ row.limit }}</td><td>{{ 'ok' if row.ok else 'not ok' }}</td></tr>{% endfor %}</table>
{% for plot in plots if plot.name != "predictions" %}{% if loop.first %}<h2>Plots</h2>{% endif %}
<h3>{{ plot.title }}</h3>{{ image(plot) }}{% endfor %}
{% if evidence %}<h2>Evidence</h2><p>The log of the mean evidence over runs is {{ evidence.pooled }}, with standard
error {{ evidence.error }}. By run:</p>
<div class="wide"><table><tr>{% for run in evidence.runs %}<th>{{ loop.index0 }}</th>{% endfor %}</tr>
<tr>{% for run in evidence.runs %}<td>{{ run }}</td>{% endfor %}</tr></table></div>{% endif %}
{% if plan %}<h2>Plan</h2><pre>{{ plan }}</pre>{% endif %}
<details><summary class="h2">Settings</summary>{{ pairs(settings) }}</details>
<details><summary class="h2">Times, versions, device</summary>{{ pairs(machine) }}</details>
<details><summary class="h2">Identity</summary>{{ pairs(identity) }}</details>
{% if command %}<h2>To repeat the run</h2><pre class="call">{{ command }}</pre>{% endif %}
{% if promise %}<p class="note">{{ promise }}</p>{% endif %}
</div></body></html>
"""
)


@functools.cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise LawfulError("a report needs jinja2. Fix: pip install 'lawful[report]'.", module="jinja2") from error
    loader = jinja2.DictLoader({"page": PAGE, "first screen": FIRST_SCREEN})
    return jinja2.Environment(
        autoescape=True, loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def rendered(name: str, **values: Any) -> str:
    """Fill in a template, "page" or "first screen".

    Raises: LawfulError where jinja2 is not installed.
    """
    return _environment().get_template(name).render(style=STYLE, **values)
