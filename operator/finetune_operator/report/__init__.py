"""A sweep as a page that a team passes around: pure functions from resources and answers to HTML and PNG.

What draws is imported when it is asked for, since its packages are an extra.
"""

from finetune_operator.report.content import AnsweredExample, Report
from finetune_operator.report.errors import ReportPackagesMissing

__all__ = ["AnsweredExample", "Report", "ReportPackagesMissing"]
