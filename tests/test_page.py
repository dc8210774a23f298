"""The page: whole, titled, safe whatever the user wrote, the same for the same report, and legible in both themes."""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import CLEAN, IN_A_CELL, NASTY, NASTY_REPORT, OBEYED, PROBE, SCAN

from nndoctor.exhibits import Pictures, Signals, Table, Tokens
from nndoctor.findings import ProbeResult, Report, Series
from nndoctor.report.html import render
from nndoctor.report.html.colours import colour
from nndoctor.report.html.document import STYLE_SHEET
from nndoctor.report.html.png import data_addresses
from nndoctor.report.html.scales import Scale, aligned, short, value_range

ROOT = Path(__file__).parents[1]
VOID = {"meta", "link", "img", "wbr"}
ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "formaction", "background"}
MATRIX = Series(((1.0, 0.0, 0.5), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), "influence", x_label="example")
CURVE = Series((2.3, 1.2, 0.4), "loss", references={"floor": 0.0, "ln 10": 2.302}, y_label="loss")
SWEEP = Series(
    (2.3, 2.2, 9.0), "by rate", (1e-6, 1e-3, 1.0), "rate", log_x=True, marks={"yours": 0.05}, band=(1e-4, 1e-2)
)
BARS = Series((0.1, 0.0, 3.0), "size", x_label="layer", names=("stem", "body.0", "head"), references={"even": 1.0})
SERIES = {"matrix": MATRIX, "curve": CURVE, "sweep": SWEEP, "bars": BARS}
GREY = Pictures("x", "uint8 (1, 1, 1, 2)", 2, 1, 1, (base64.b64encode(b"\x00\xff").decode(),), ("label 3",))
EXHIBITS = (
    GREY,
    Tokens("ids", "int64", ((5, 6),), (("Hello", "\n"),), ("label 1",)),
    Signals("wave", "float32", (((0.5, -1.0, 2.0),),), ("label 0",)),
    Table("row", "float32", ((1.0, 2.5),), ("target 7",)),
)
FULL = replace(
    PROBE, probes=(*PROBE.probes, ProbeResult("NDP05", "causality", "ok", "fine", series=SERIES)), batch=EXHIBITS,
    filters=(GREY,),
)  # fmt: skip
NASTY_EXHIBITS = (
    replace(GREY, title=NASTY, caption=NASTY, labels=(NASTY,)),
    Tokens(NASTY, NASTY, ((1,),), ((NASTY,),), (NASTY,)),
    Signals(NASTY, NASTY, (((1.0, 2.0),),), (NASTY,)),
    Table(NASTY, NASTY, ((1.0,),), (NASTY,)),
)
NASTY_SERIES = {
    NASTY: Series((1.0, 2.0), NASTY, None, NASTY, references={NASTY: 1.5}, y_label=NASTY, marks={NASTY: 1.0}),
    "bars": Series((1.0, 2.0), NASTY, x_label=NASTY, names=(NASTY, NASTY), references={NASTY: 1.5}),
    "many": Series((1.0,) * 60, NASTY, x_label=NASTY, names=(NASTY,) * 60),
    "matrix": Series(((1.0, 2.0),), NASTY, x_label=NASTY, y_label=NASTY),
}
NASTY_PAGE = replace(
    NASTY_REPORT,
    findings=NASTY_REPORT.findings * 2,
    probes=(ProbeResult(NASTY, NASTY, NASTY, NASTY, {NASTY: NASTY}, NASTY_SERIES),),
    batch=NASTY_EXHIBITS,
    filters=NASTY_EXHIBITS,
)
REPORTS = {"scan": SCAN, "probe": FULL, "clean": CLEAN, "hostile": NASTY_PAGE, "empty": Report("scan", ".")}


class Reader(HTMLParser):
    """Every element with its attributes and its own text; complains of tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self.parents: list[int | None] = []
        self.open: list[int] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        self.parents.append(self.open[-1] if self.open else None)
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for number in self.open:
            self.texts[number] = self.texts.get(number, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, **wanted: str) -> list[str]:
        return [
            self.texts.get(number, "")
            for number, (_, attributes) in enumerate(self.elements)
            if all(attributes.get(name.rstrip("_")) == value for name, value in wanted.items())
        ]

    def text(self) -> str:
        """All that is shown, with every stretch of white space as one blank."""
        body = next(number for number, (tag, _) in enumerate(self.elements) if tag == "body")
        return " ".join(self.texts[body].split())


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[request.param]


@pytest.fixture
def page(report: Report) -> Reader:
    return Reader(render(report))


# Form


def test_it_is_one_document(page: Reader) -> None:
    assert len(page.all("html")) == len(page.all("body")) == len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert render(report) == render(report)


def test_ids_are_unique_and_every_reference_has_its_target(page: Reader) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    wanted = [name for _, each in page.elements for name in (each.get("aria-labelledby") or "").split()]
    wanted += [each["href"][1:] for each in page.all("a") if each["href"]]
    assert wanted or not page.all("section")
    assert set(wanted) <= set(ids)


def test_every_drawing_has_a_title_and_can_be_reached(page: Reader) -> None:
    for number, (tag, attributes) in enumerate(page.elements):
        if tag == "svg":
            own = [index for index, parent in enumerate(page.parents) if parent == number]
            assert [page.elements[index][0] for index in own[:2]] == ["title", "desc"]
            assert all(page.texts[index].strip() for index in own[:2])
            assert (attributes["role"], attributes["tabindex"]) == ("img", "0")
    assert all(picture["alt"] for picture in page.all("img"))


# Content


def test_it_shows_the_findings_with_their_path_and_treatment() -> None:
    page = Reader(render(SCAN))
    assert page.text_of(class_="of") == ["nndoctor scan src"]
    assert "1 error, 1 hint" in page.text()
    assert len(page.all("article")) == 2
    assert "src/train.py:60" in page.text_of(class_="place")[2]
    assert page.text_of(class_="source")[:3] == [
        "loss = criterion(outputs, y)", "return F.softmax(self.head(x), dim=1)", "outputs = net(x)",
    ]  # fmt: skip
    assert page.text_of(class_="happens") == ["softmax here", "returned here"]
    assert "Return self.head(x) from Net.forward." in page.text()
    assert "remove the softmax, with --fix" in page.text()
    marks = [page.texts[number] for number, (tag, _) in enumerate(page.elements) if tag == "mark"]
    assert marks[0] == "outputs"


def test_reasons_are_given_once_for_a_rule() -> None:
    page = Reader(render(replace(SCAN, findings=SCAN.findings * 3)))
    assert len(page.all("article")) == 6
    assert len(page.text_of(class_="why")) == 1


def test_a_place_of_a_notebook_names_its_cell() -> None:
    assert "a.ipynb:cell 4:2" in Reader(render(replace(SCAN, findings=(IN_A_CELL,)))).text()


def test_it_shows_what_a_check_up_measured() -> None:
    page = Reader(render(FULL))
    text = page.text()
    for shown in ("lr-range", "no time left", "influence0.6123", "worstinf", "off-diagonal influence 0.61"):
        assert shown in text
    assert "5 probes in 41 s: 2 ok, 1 with findings, 1 failed, 1 not applicable." in text
    assert "lossnn.MSELoss" in text
    assert "ND001cannot parse itbad.py:3" in text
    assert len(page.all("svg")) == 5  # four series and a signal
    assert "Hello" in text
    assert "⏎" in text
    assert "target 7" in text


@pytest.mark.parametrize(
    ("report", "verdict"),
    [(CLEAN, "Nothing to report"), (Report("scan", "."), "Nothing was examined"), (PROBE, "1 warning, 2 failures")],
)
def test_the_verdict(report: Report, verdict: str) -> None:
    page = Reader(render(report))
    assert [page.texts[number] for number, (tag, _) in enumerate(page.elements) if tag == "h1"] == [verdict]


def test_a_long_line_of_code_is_cut_around_its_span() -> None:
    finding = SCAN.findings[0]
    line = "x = f(" + "a, " * 300 + "outputs" + ", b" * 300 + ")"
    start = line.index("outputs") + 1
    place = replace(finding.location, column=start, end_column=start + 7)  # type: ignore[type-var]
    page = Reader(render(replace(SCAN, findings=(replace(finding, location=place, source_line=line),))))
    shown = page.text_of(class_="source")[0]
    assert len(shown) < 200
    assert shown.startswith("…")
    assert shown.endswith("…")
    assert next(page.texts[number] for number, (tag, _) in enumerate(page.elements) if tag == "mark") == "outputs"


# Safety


def test_it_fetches_nothing_and_runs_nothing(page: Reader) -> None:
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form", "foreignobject", "use", "image"}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ADDRESSES & attributes.keys():
            assert re.match(r"#|data:,$|data:image/png;base64,[A-Za-z0-9+/=]+$", attributes[name] or "")
    style = STYLE_SHEET.read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|expression|</", style)
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_nothing_of_the_user_s_is_markup_or_obeyed() -> None:
    page = render(NASTY_PAGE)
    assert not set(OBEYED) & set(page)
    page.encode("utf-8")
    assert "<b>&amp;" not in page
    shown = Reader(page)
    assert "<b>&amp;]]>" in shown.text()
    harmless = {tag for tag, _ in Reader(render(FULL)).elements} | {"nav", "a", "details", "summary"}
    assert {tag for tag, _ in shown.elements} <= harmless


# Drawings


def drawn(series: Series, *more: Series, code: str = "NDP03") -> str:
    every = {f"series {number}": each for number, each in enumerate((series, *more))}
    return render(Report("probe", "m", probes=(ProbeResult(code, "probe", "ok", "fine", series=every),)))


def test_curves_of_one_quantity_share_their_axes() -> None:
    other = replace(CURVE, label="loss without inputs", references={})
    page = Reader(drawn(CURVE, other))
    assert len(page.all("svg")) == 1
    assert len(page.text_of(class_="what")) == 2
    assert len(Reader(drawn(CURVE, replace(other, y_label="share"))).all("svg")) == 2


def test_a_reference_stands_on_the_line_with_its_figure() -> None:
    page = Reader(drawn(CURVE))
    assert page.text_of(class_="note") == ["ln 10 2.3", "floor 0"]
    assert len([each for each in page.all("line") if each["class"] == "reference"]) == 2


def test_the_rate_and_the_band_of_a_sweep() -> None:
    page = Reader(drawn(SWEEP))
    (mark,) = (each for each in page.all("line") if each["class"] == "mark")
    (band,) = (each for each in page.all("rect") if each["class"] == "band")
    assert float(mark["x1"] or 0) > float(band["x"] or 0) + float(band["width"] or 0) > float(band["x"] or 0)
    assert page.text_of(class_="note") == ["yours 0.05"]
    assert "10⁻⁴" in page.text_of(class_="tick")


def test_a_curve_has_a_gap_where_it_is_not_finite() -> None:
    page = Reader(drawn(Series((1.0, 2.0, float("nan"), 4.0, float("inf"), 2.0, 1.0), "loss")))
    assert len([each for each in page.all("path") if "curve" in (each["class"] or "")]) == 3
    assert page.text_of(class_="remark") == ["not finite 2 times, first at step 3"]


def test_a_spike_does_not_press_a_curve_flat() -> None:
    values = (*(2.0 - 0.01 * step for step in range(100)), 4.0, 5000.0)
    assert value_range([values], [0.0])[1] < 5
    page = Reader(drawn(Series(values, "loss")))
    assert page.text_of(class_="remark") == ["cut off at the top: up to 5,000"]
    assert not page.all("circle")  # the end of the curve lies outside


def test_long_curves_are_thinned_and_keep_their_extremes() -> None:
    page = drawn(Series((*(0.0, 1.0) * 5000, 1.5, *(0.0, 1.0) * 5000, -0.5, *(0.0, 1.0) * 5000), "loss"))
    (path,) = (each["d"] or "" for each in Reader(page).all("path"))
    heights = {point.split(" ")[1] for point in path[1:].split("L")}
    assert path.count("L") < 500
    assert len(heights) == 4


def test_a_matrix_leaves_zeros_blank_and_explains_its_colours() -> None:
    page = Reader(drawn(MATRIX))
    blank = [each for each in page.all("rect") if each.get("class") == "zero"]
    assert len(blank) == 5 + 1  # and one in the legend
    fills = [each["fill"] for each in page.all("rect") if each.get("fill")]
    assert fills[:4] == [colour(1), colour(0.5), colour(1), colour(1)]
    assert {colour(0), colour(1)} <= set(fills[4:])


def test_a_large_matrix_hides_no_cell() -> None:
    rows = [[0.0] * 200 for _ in range(200)]
    rows[137][11] = 0.25
    page = Reader(drawn(Series(tuple(map(tuple, rows)), "influence")))
    cells = [each for each in page.all("rect") if each.get("width") == each.get("height") and each.get("fill")]
    assert [cell["fill"] for cell in cells] == [colour(1)]
    assert page.text_of(class_="remark") == ["each cell is the largest of 7 by 7"]


def test_only_the_matrix_of_causality_has_a_border_to_the_future() -> None:
    square = replace(MATRIX, x=(0.0, 1.0, 2.0))
    assert 'class="boundary"' in drawn(square, code="NDP05")
    assert 'class="boundary"' not in drawn(square, code="NDP04")


def test_bars_have_names_and_figures() -> None:
    page = Reader(drawn(BARS))
    assert page.text_of(class_="figure") == ["0.1", "0", "3"]
    assert [text for text in page.text_of(class_="tick") if "head" in text]
    assert page.text_of(class_="note") == ["even 1"]
    assert page.text_of(class_="remark") == []


def test_bars_that_differ_by_powers_of_ten_say_so() -> None:
    page = Reader(drawn(replace(BARS, values=(1e-6, 0.0, 3.0))))
    widths = [float(each["width"] or 0) for each in page.all("rect") if each["class"] == "bar"]
    assert widths[1] == 0
    assert 0 < widths[0] < widths[2]
    assert page.text_of(class_="remark") == ["logarithmic scale"]


def test_timings_are_bars_of_milliseconds() -> None:
    probe = ProbeResult("NDP22", "speed", "ok", "fine", timings={"loader": 0.002, "forward": 0.0105})
    page = Reader(render(Report("probe", "m", probes=(probe,))))
    assert page.text_of(class_="figure") == ["2", "10.5"]
    assert page.text_of(class_="what") == ["milliseconds"]


def test_long_names_lose_what_they_have_in_common() -> None:
    names = tuple(f"encoder.layers.{number}.self_attention.output_projection" for number in range(3))
    page = Reader(drawn(replace(BARS, names=names)))
    ticks = page.text_of(class_="tick")
    assert [tick.removeprefix(name) for tick, name in zip(ticks, names, strict=True)] == [
        "layers.0", "layers.1", "layers.2",
    ]  # fmt: skip


def test_very_many_bars_become_columns() -> None:
    page = Reader(drawn(Series(tuple(map(float, range(80))), "labels", names=tuple(map(str, range(80))))))
    assert len([each for each in page.all("rect") if each["class"] == "bar"]) == 80
    assert page.text_of(class_="figure") == []


NUMBERS = st.one_of(st.floats(), st.floats(0, 1), st.just(0.0))
CURVES = st.lists(NUMBERS, min_size=1, max_size=40).map(tuple)
MATRICES = st.integers(1, 40).flatmap(
    lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width).map(tuple), min_size=1, max_size=4)
)


@settings(max_examples=60, deadline=None)
@given(
    CURVES, MATRICES.map(tuple), st.booleans(), st.dictionaries(st.sampled_from("abc"), NUMBERS),
    st.dictionaries(st.sampled_from("xyz"), NUMBERS), st.none() | st.tuples(NUMBERS, NUMBERS),
)  # fmt: skip
def test_any_figures_can_be_drawn(
    values: tuple[float, ...],
    rows: tuple[tuple[float, ...], ...],
    log: bool,
    references: dict[str, float],
    marks: dict[str, float],
    band: tuple[float, float] | None,
) -> None:
    curve = Series(values, "any", log_x=log, references=references, marks=marks, band=band)
    named = Series(values, "any", names=tuple(map(str, range(len(values)))), references=references)
    page = Reader(drawn(curve, replace(curve, x=values), named, Series(rows, "any"), code="NDP05"))
    drawings = ("x", "y", "x1", "x2", "y1", "y2", "width", "height", "d", "cx", "cy", "viewbox")
    placed = [value for _, each in page.elements for name in drawings if (value := each.get(name)) is not None]
    assert not [value for value in placed if re.search(r"nan|inf|e", value) and value != "device-width"]
    sizes = [each.get(name) for each in page.all("rect") for name in ("width", "height")]
    assert not [size for size in sizes if (size or "").startswith("-")]


# Scales


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (0.0, 2.3, False, ["0", "0.5", "1", "1.5", "2"]),
        (-1.0, 1.0, False, ["-1", "-0.5", "0", "0.5", "1"]),
        (0.0, 12_000.0, False, ["0", "5,000", "10,000"]),
        (1e-6, 1.0, True, ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰"]),
        (2.0, 2.0, False, ["2"]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, labels: list[str]) -> None:
    scale = Scale(low, high, 0, 100, log)
    assert [scale.label(tick) for tick in scale.ticks()] == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.09054, "0.0905"), (1e-6, "1e-6"), (12345.0, "12,345"), (2.5e9, "2.5e9"), (0.0, "0"), (float("nan"), "nan")],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((1.0, 0.25, -12.5), ["1.00", "0.25", "-12.50"]),
        ((1.0, 2.0), ["1", "2"]),
        ((1.0, 1e-7, float("inf")), ["1", "1e-7", "inf"]),
    ],
)
def test_the_figures_of_a_column_are_aligned(values: tuple[float, ...], texts: list[str]) -> None:
    assert aligned(values) == texts


def test_the_colour_map_grows_evenly_lighter() -> None:
    lightness = [luminance(colour(step / 50)) ** (1 / 3) for step in range(51)]
    steps = [later - earlier for earlier, later in pairwise(lightness)]
    assert min(steps) > 0
    assert max(steps) < 3 * min(steps)


# Pictures


def test_pictures_are_png() -> None:
    colours = Pictures("x", "", 2, 2, 3, (base64.b64encode(bytes(range(12))).decode(),))
    (address,) = data_addresses(colours)
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    chunks = {}
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(body)
        chunks[body[:4]] = body[4:]
        place += 12 + length
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (2, 2, 8, 2)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + bytes(range(6)) + b"\0" + bytes(range(6, 12))


# Legibility


def luminance(colour: str) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes() -> list[dict[str, str]]:
    """The colours of the light and the dark theme and of print."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE_SHEET.read_text(encoding="utf-8"), re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6}|#fff|#000);", block)) for block in blocks]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_the_contrast_of_the_guidelines(theme: int) -> None:
    colours = {name: value if len(value) == 7 else value + value[1:] for name, value in themes()[theme].items()}
    for ground in ("paper", "surface"):
        for name in ("ink", "dim", "error", "warning", "info", "ok"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert contrast(colours["ink"], colours["mark"]) >= 4.5
    assert all(contrast(colours[f"curve-{number}"], colours["paper"]) >= 3 for number in range(4))


# Both commands


def run(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "nndoctor", *arguments, "--output-format", "html=page.html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    return (directory / "page.html").read_text(encoding="utf-8")


def test_scan_writes_a_page(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\nnn = torch.nn\nbn = nn.BatchNorm2d(8, 0.9)\n", encoding="utf-8")
    page = Reader(run(tmp_path, "scan", "train.py", "--no-cache"))
    assert "ND405" in page.text_of(class_="code")
    assert "batchnorm-eps-as-momentum" in page.text_of(class_="rule")


MIXING = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.head(x - x.mean(0))


class Words:
    def decode(self, ids):
        return f"word {ids[0]}"


def loader():
    return [(torch.randn(16, 3, 8, 8), torch.arange(16) % 10)]
"""


def test_probe_writes_a_page_with_the_batch_and_the_filters(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(MIXING, encoding="utf-8")
    arguments = ("--data", "made:loader", "--tokenizer", "made:Words", "--effort", "quick", "--select", "NDP04")
    page = Reader(run(tmp_path, "probe", "made:Net", *arguments))
    assert "made.py:14" in page.text()
    assert page.text_of(class_="name") == ["gradient-isolation", "x", "conv"]
    assert len(page.all("img")) == 8 + 4


def test_drawing_needs_neither_torch_nor_rich() -> None:
    program = (
        "import sys, nndoctor.report.html\nprint({'torch', 'numpy', 'rich', 'libcst', 'nndoctor.scan', "
        "'nndoctor.probe'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
