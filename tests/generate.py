"""Writes what is generated for readers: the catalogue in README.md and the picture docs/report.svg.

Run `python tests/generate.py` from the checkout after a change to the rules or to the report; tests/test_readme.py
fails until it has been done.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from rich.console import Console

from nndoctor.catalog import load_rules
from nndoctor.report import terminal
from nndoctor.report.catalogue import markdown
from nndoctor.requests import ScanRequest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "report.svg"
PATIENT = Path("fixtures/image_classifier/sick.py")
PICTURE_WIDTH = 104
WEB_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
BEGIN, END = "<!-- catalogue -->", "<!-- end of catalogue -->"


def catalogue() -> str:
    """Every rule as Markdown, a table for each family; what `nndoctor rules --format markdown` prints."""
    return markdown(load_rules()).rstrip()


def picture() -> str:
    """The report on a sick script of fixtures/, as SVG that fetches nothing."""
    from nndoctor.scan import engine

    console = Console(
        file=io.StringIO(), record=True, width=PICTURE_WIDTH, force_terminal=True, color_system="standard"
    )
    terminal.render(engine.scan(ScanRequest(paths=(PATIENT,), root=ROOT)), console)
    svg = console.export_svg(title=f"nndoctor scan {PATIENT}", unique_id="nndoctor")
    return WEB_FONT.sub("", svg)


def main() -> None:
    os.chdir(ROOT)
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{catalogue()}\n\n{END}{after}", encoding="utf-8")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
