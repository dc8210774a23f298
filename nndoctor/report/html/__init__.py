"""The page: a report as one HTML file that fetches nothing and runs nothing."""

from nndoctor.report.html.document import render

__all__ = ["render"]
