"""The page as one HTML file that loads nothing: plots, their library, style and data are all in it."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from importlib import resources
from typing import Any

from finetune_operator.report.content import Report
from finetune_operator.report.drawing import jinja2, markupsafe, vega_lite_version, vl_convert
from finetune_operator.report.figures import Figures, figures_of
from finetune_operator.report.page import page_of
from finetune_operator.report.words import duration_text, number_text

_LIBRARY_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def report_html(report: Report) -> str:
    """A report as HTML. Blocking: seconds.

    Nothing of the sweep can become script: texts are escaped by the template, data stands in a block that no
    browser runs, and the content security policy names the hashes of the two scripts that are ours.
    """
    page = page_of(report)
    figures = figures_of(report, page)
    library, script = _inline(_library()), _inline(_text("page.js"))
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            figures=figures.figures,
            data=data_block(figures),
            style=_trusted(_text("page.css")),
            scripts=[_trusted(library), _trusted(script)],
            policy=_policy(library, script),
        )
    )


def data_block(figures: Figures) -> Any:
    """Specifications and rows as JSON that cannot end the block it stands in."""
    specs = {figure.key: figure.spec for figure in figures.figures if figure.spec is not None}
    text = json.dumps({"specs": specs, "data": figures.data}, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return _trusted(text)


@functools.cache
def _library() -> str:
    bundle: str = vl_convert.javascript_bundle(_LIBRARY_SNIPPET, vl_version=vega_lite_version())
    return bundle


def _policy(*scripts: str) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _text(f"{name}.j2")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": number_text, "duration": duration_text}
    return environment


def _text(name: str) -> str:
    return (resources.files("finetune_operator.report") / "templates" / name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """A script of our own so that nothing in its strings can end the element it stands in."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _trusted(text: str) -> Any:
    """Text that is put into the page as it is: our own, or escaped already."""
    return markupsafe.Markup(text)
