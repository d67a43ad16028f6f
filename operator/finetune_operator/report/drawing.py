"""The packages that draw, which are an extra: imported here, so that one place says what to install."""

from __future__ import annotations

from finetune_operator.report.errors import ReportPackagesMissing

try:
    import altair as alt
    import jinja2
    import markupsafe
    import vl_convert
except ImportError as error:
    raise ReportPackagesMissing(error.name) from error

__all__ = ["alt", "jinja2", "markupsafe", "vega_lite_version", "vl_convert"]


def vega_lite_version() -> str:
    """The version of Vega-Lite for which Altair writes, such as `6.4`."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
