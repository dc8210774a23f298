"""What is remembered of a tree: said again while all that it rests on is the same, and never believed blindly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from programs import MAIN, notebook, write

import nndoctor
from nndoctor.errors import UserError
from nndoctor.findings import Report, Severity
from nndoctor.requests import ScanRequest
from nndoctor.scan import cache as caching
from nndoctor.scan import engine
from nndoctor.scan.cache import FOLDER, default_folder, named_folder
from nndoctor.scan.disk import Asked
from nndoctor.scan.entries import decode, encode
from nndoctor.scan.verdict import Verdict
from nndoctor.selection import PREFIX

SICK = "import torch\nfrom torch.nn import functional as F\n\nF.cross_entropy(torch.softmax(x, 1), y)\n"
MODEL = "import torch\ndef net(x): return torch.softmax(x, 1)\nloss = torch.nn.CrossEntropyLoss()\n"
CALLS = "import torch\nfrom model import net, loss\nloss(net(x), y)\n"


class Tree:
    """A folder that is scanned again and again; `examined` lists the files of the parts of the last scan."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cache = folder / FOLDER
        self.examined: list[str] = []
        examine = engine.examine

        def noted(part: Any, *rest: Any) -> Any:
            self.examined += [Path(file).name for file in part.files]
            return examine(part, *rest)

        monkeypatch.setattr(engine, "examine", noted)
        monkeypatch.delenv("NNDOCTOR_DEBUG", raising=False)

    def scan(self, **options: Any) -> Report:
        """The report, without how long it took."""
        self.examined.clear()
        request: dict[str, Any] = {"paths": (self.folder,), "root": self.folder, "cache": self.cache, **options}
        return replace(engine.scan(ScanRequest(**request)), seconds=0.0)

    def entries(self) -> list[Path]:
        return sorted(self.cache.glob("*.json"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    return Tree(tmp_path, monkeypatch)


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


# What is said again


def test_the_second_report_is_the_first_and_nothing_is_examined(tree: Tree) -> None:
    write(tree.folder, {"a.py": SICK, "b.py": CALLS, "model.py": MODEL, "c.ipynb": notebook([SICK, "x = (\n"])})
    first = tree.scan(pedantic=True)
    assert tree.examined == ["a.py", "b.py", "model.py", "c.ipynb"]
    assert set(codes(first)) == {"ND101", "ND001"}
    assert tree.scan(pedantic=True) == first == tree.scan(pedantic=True, cache=None)
    tree.scan(pedantic=True)
    assert tree.examined == []


def test_a_fix_is_remembered(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK + "torch.nn.utils.clip_grad_norm(net.parameters(), 1.0)\n"})
    first = tree.scan(pedantic=True)
    assert any(finding.fix is not None for finding in first.findings)
    assert tree.scan(pedantic=True) == first


def test_a_file_that_cannot_be_parsed_is_remembered_with_its_failure(tree: Tree) -> None:
    write(tree.folder, {MAIN: "import torch\ndef f(:\n"})
    first = tree.scan()
    assert (codes(first), len(first.failures), first.coverage.unparsed) == (["ND001"], 1, 1)
    assert tree.scan() == first
    assert tree.examined == []


def test_a_comment_that_silenced_something_still_did(tree: Tree) -> None:
    used = SICK.replace("y)", "y)  # nndoctor: ignore[ND101]")
    write(tree.folder, {MAIN: used + "x = 1  # nndoctor: ignore[ND405]\n"})
    first = tree.scan(pedantic=True)
    assert [(finding.code, finding.location.line) for finding in first.findings] == [("ND002", 5)]
    assert tree.scan(pedantic=True) == first
    assert tree.examined == []


def test_only_the_part_that_changed_is_examined(tree: Tree) -> None:
    write(tree.folder, {"a.py": SICK, "b.py": CALLS, "model.py": MODEL})
    tree.scan()
    write(tree.folder, {"b.py": CALLS + "loss(net(x), y)\n"})
    assert codes(tree.scan()) == ["ND101"] * 3
    assert tree.examined == ["b.py", "model.py"]


# What it rests on


def test_the_content_counts_and_neither_time_nor_size(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    status = (tree.folder / MAIN).stat()
    assert codes(tree.scan()) == ["ND101"]
    write(tree.folder, {MAIN: SICK.replace("softmax", "sigmoid")})
    os.utime(tree.folder / MAIN, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (tree.folder / MAIN).stat().st_size == status.st_size
    assert codes(tree.scan()) != ["ND101"]
    write(tree.folder, {MAIN: SICK})
    os.utime(tree.folder / MAIN, (0, 0))
    tree.examined.clear()
    assert codes(tree.scan()) == ["ND101"]
    assert tree.examined == []


def test_a_change_in_an_imported_file_that_was_not_asked_for(tree: Tree) -> None:
    write(tree.folder, {MAIN: CALLS, "model.py": MODEL})
    asked = (tree.folder / MAIN,)
    assert codes(tree.scan(paths=asked)) == ["ND101"]
    assert codes(tree.scan(paths=asked)) == ["ND101"]
    assert tree.examined == []
    write(tree.folder, {"model.py": MODEL.replace("torch.softmax(x, 1)", "x")})
    assert codes(tree.scan(paths=asked)) == []


def test_an_import_that_was_not_there_and_now_is(tree: Tree) -> None:
    write(tree.folder, {MAIN: CALLS})
    asked = (tree.folder / MAIN,)
    assert codes(tree.scan(paths=asked)) == []
    write(tree.folder, {"model.py": MODEL})
    assert codes(tree.scan(paths=asked)) == ["ND101"]


def test_an_import_that_now_means_another_file(tree: Tree) -> None:
    write(tree.folder, {MAIN: CALLS, "model.py": MODEL})
    asked = (tree.folder / MAIN,)
    assert codes(tree.scan(paths=asked)) == ["ND101"]
    write(tree.folder, {"model/__init__.py": MODEL.replace("torch.softmax(x, 1)", "x")})
    assert codes(tree.scan(paths=asked)) == []


def test_a_file_found_by_a_path_that_only_the_program_knows(tree: Tree) -> None:
    text = "import torch, sys\nsys.path.append('lib')\n" + CALLS
    write(tree.folder, {MAIN: text})
    assert codes(tree.scan(paths=(tree.folder / MAIN,))) == []
    write(tree.folder, {"lib/model.py": MODEL})
    assert codes(tree.scan(paths=(tree.folder / MAIN,))) == ["ND101"]


def test_a_mark_that_makes_a_folder_the_start_of_a_project(tree: Tree) -> None:
    write(tree.folder, {"sub/scripts/main.py": CALLS, "sub/model.py": MODEL})
    asked = (tree.folder / "sub" / "scripts" / "main.py",)
    assert codes(tree.scan(paths=asked)) == []
    write(tree.folder, {"sub/pyproject.toml": ""})
    assert codes(tree.scan(paths=asked)) == ["ND101"]


def test_other_files_do_not_count(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    write(tree.folder, {"notes.txt": "", "runs/events": "", "util.py": "import os\n"})
    tree.scan()
    assert tree.examined == []


@pytest.mark.parametrize(
    "setting",
    [
        {"select": frozenset({"ND101"})},
        {"ignore": frozenset({"ND101"})},
        {"pedantic": True},
        {"per_file_ignores": {"*.py": frozenset({"ND101"})}},
        {"minimum_torch": (1, 13)},
        {"thresholds": {"ND214.largest": 5.0}},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_another_setting_is_another_examination(setting: dict[str, Any], tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    assert tree.scan(**setting) == tree.scan(cache=None, **setting)
    tree.scan(**setting)
    assert tree.examined == []
    tree.scan()
    assert tree.examined == []


def test_every_field_of_a_request_counts_that_is_not_known_to_say_nothing() -> None:
    request = ScanRequest(paths=(), root=Path("/a"))
    changed = {"root": Path("/b"), "base": Path("/c"), "select": frozenset(), "ignore": frozenset({"ND101"})}
    keys = {caching._settings(replace(request, **{name: value})) for name, value in changed.items()}
    assert len(keys | {caching._settings(request)}) == len(changed) + 1


@pytest.mark.parametrize(
    "circumstance",
    [
        ("nndoctor.scan.cache.__version__", "99"),
        ("nndoctor.scan.cache._own_code", lambda: b"edited"),
        ("nndoctor.scan.cache._parser", lambda: b"newer"),
        ("sys.version", "3.99"),
    ],
    ids=lambda pair: pair[0].rpartition(".")[2],
)
def test_another_program_examines_again(
    circumstance: tuple[str, Any], tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    monkeypatch.setattr(*circumstance)
    tree.scan()
    assert tree.examined == [MAIN]


def test_an_edited_rule_is_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"ND101-x.toml": "summary = 1\n"})
    monkeypatch.setattr(caching, "rules_directory", lambda: tmp_path)
    before = caching._own_code()
    write(tmp_path, {"ND101-x.toml": "summary = 22\n"})
    assert caching._own_code() != before


# What is not remembered


def test_stdin_and_texts_are_not(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan(paths=(), stdin=SICK, stdin_filename="x.py")
    tree.scan(texts={tree.folder / MAIN: SICK})
    assert not tree.cache.exists()


def test_a_failure_of_the_doctor_is_not(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(program: object) -> None:
        raise ValueError("out of order")

    write(tree.folder, {MAIN: SICK})
    with monkeypatch.context() as patch:
        patch.setattr("nndoctor.scan.rules.RULES", {fail: ("ND101",)})
        assert len(tree.scan().failures) == 1
    assert codes(tree.scan()) == ["ND101"]


def test_a_file_that_changed_while_it_was_examined_is_not(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree.folder, {MAIN: SICK})
    examine = engine.examine

    def late(part: Any, *rest: Any) -> Any:
        write(tree.folder, {MAIN: "import torch\n"})
        return examine(part, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "examine", late)
        assert codes(tree.scan()) == []
    write(tree.folder, {MAIN: SICK})
    assert codes(tree.scan()) == ["ND101"]


def test_a_file_that_cannot_be_read_is_not(tree: Tree) -> None:
    (tree.folder / MAIN).mkdir()
    write(tree.folder, {"a.py": SICK + f"import {MAIN.removesuffix('.py')}\n"})
    tree.scan()
    assert tree.entries() == []


def test_those_who_mend_the_doctor_get_no_memories(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree.folder, {MAIN: SICK})
    monkeypatch.setenv("NNDOCTOR_DEBUG", "1")
    tree.scan()
    assert not tree.cache.exists()


# The folder


def test_the_folder_is_ignored_by_git_and_marked_as_a_cache(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    assert (tree.cache / ".gitignore").read_text().splitlines()[-1] == "*"
    assert (tree.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_a_folder_that_cannot_be_written_costs_only_the_memory(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Path, data: bytes) -> None:
        raise PermissionError("read-only file system")

    write(tree.folder, {"a.py": SICK, "b.py": SICK})
    with monkeypatch.context() as patch:
        patch.setattr("nndoctor.atomic.replace_bytes", refuse)
        assert codes(tree.scan()) == ["ND101", "ND101"]
        assert tree.entries() == []
    tree.scan()
    monkeypatch.setattr("nndoctor.atomic.replace_bytes", refuse)
    write(tree.folder, {"b.py": SICK + "\n"})
    assert codes(tree.scan()) == ["ND101", "ND101"]
    assert tree.examined == ["b.py"]


def test_a_file_in_the_place_of_the_folder_costs_only_the_memory(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK, FOLDER: "mine"})
    assert codes(tree.scan()) == codes(tree.scan()) == ["ND101"]
    assert tree.cache.read_text() == "mine"


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert default_folder(tmp_path) == tmp_path / FOLDER
    (tmp_path / FOLDER).symlink_to(tmp_path / "elsewhere")
    assert default_folder(tmp_path) is None


def test_a_folder_with_other_files_is_refused(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    assert named_folder(tree.folder / "new") == tree.folder / "new"
    assert named_folder(tree.cache) == tree.cache
    write(tree.folder, {"others/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n# made by another\n"})
    for folder in (tree.folder, tree.folder / MAIN, tree.folder / "others"):
        with pytest.raises(UserError, match="--cache-dir"):
            named_folder(folder)


def test_what_was_not_used_for_longest_goes_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree.folder, {"a.py": SICK})
    tree.scan()
    [kept] = tree.entries()
    digest = "0" * 40
    old, temporary, other = (tree.cache / name for name in (f"{digest}.json", f".{digest}.json.x_1", "mine.json"))
    for file in (old, temporary, other):
        file.write_bytes(b" " * 4000)
        os.utime(file, (0, 0))
    write(tree.folder, {"b.py": SICK + "\n"})
    tree.scan()
    assert old.exists(), "there is room for it"
    assert not temporary.exists(), "nobody writes any more on what is so old"
    monkeypatch.setattr(caching, "MAX_SIZE", 5000)
    monkeypatch.setattr(caching, "KEPT_SIZE", 4500)
    write(tree.folder, {"b.py": SICK + "\n\n"})
    tree.scan()
    assert not old.exists()
    assert kept.exists()
    assert other.exists()


def test_use_keeps_an_entry_young(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    [entry] = tree.entries()
    os.utime(entry, (0, 0))
    tree.scan()
    assert tree.examined == []
    assert entry.stat().st_mtime > 0


# Entries that nobody of ours wrote, or wrote to the end


def spoil(tree: Tree, spoiled: Callable[[bytes], bytes]) -> Report:
    """The second report, once the entry of the first is another one."""
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    [entry] = tree.entries()
    entry.write_bytes(spoiled(entry.read_bytes()))
    return tree.scan()


@pytest.mark.parametrize("kept", [0, 1, 0.5, -1])
def test_an_entry_that_was_not_written_to_its_end_is_none(kept: float, tree: Tree) -> None:
    report = spoil(tree, lambda data: data[: int(len(data) * kept) if kept == 0.5 else int(kept)])
    assert codes(report) == ["ND101"]
    assert tree.examined == [MAIN]
    tree.scan()
    assert tree.examined == [], "it was replaced"


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"[]",
        b"null",
        b"{}",
        b"1e999",
        b"[" * 100_000,
        b"\xff\xfe",
        b"9" * 10_000,
        b"cos\nsystem\n(S'x'\ntR.",
    ],
    ids=["zeros", "list", "null", "empty", "infinite", "deep", "no text", "long number", "pickle"],
)
def test_an_entry_that_is_something_else_is_none(data: bytes, tree: Tree) -> None:
    assert codes(spoil(tree, lambda _: data)) == ["ND101"]
    assert tree.examined == [MAIN]


def path_of(entry: Any, *keys: Any) -> Any:
    for key in keys:
        entry = entry[key]
    return entry


FINDING = ("verdict", "findings", 0)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (FINDING, "code", "ND999"),
        (FINDING, "code", ["ND101"]),
        (FINDING, "message", 5),
        (FINDING, "severity", "fatal"),
        (FINDING, "severity", []),
        (FINDING, "confidence", None),
        (FINDING, "location", None),
        (FINDING, "evidence", "abc"),
        (FINDING, "measurements", {"x": []}),
        (FINDING, "fix", {"message": "x", "edits": [{}], "safe": True}),
        (FINDING, "fix", {"message": "x", "edits": [], "safe": "yes"}),
        (FINDING, "__class__", "x"),
        ((*FINDING, "location"), "line", True),
        ((*FINDING, "location"), "line", -1),
        ((*FINDING, "location"), "column", 10**18),
        ((*FINDING, "location"), "path", None),
        (("verdict",), "failures", [{"message": "x", "code": None}]),
        (("verdict",), "usages", [{"directive": 1, "line": "", "used": True}]),
        (("verdict", "files", 0), "bad_cells", -1),
        (("asked",), "names", {"/": {"tmp": "yes"}}),
        (("asked",), "contents", {"/x.py": 1}),
        (("asked",), "contents", {"/dev/zero": "0"}),
        (("asked",), "contents", {"/dev/stdin": ""}),
        (("asked",), "contents", {"a\0b": "0"}),
        (("asked",), "names", {"a\0b": {"c": True}}),
    ],
)
def test_an_entry_of_another_form_is_none(place: tuple[Any, ...], key: str, value: Any, tree: Tree) -> None:
    def spoiled(data: bytes) -> bytes:
        entry = json.loads(data)
        path_of(entry, *place)[key] = value
        return json.dumps(entry).encode()

    assert codes(spoil(tree, spoiled)) == ["ND101"]
    assert tree.examined == [MAIN]


def test_an_entry_that_is_a_pipe_or_a_link_is_none(tree: Tree) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    [entry] = tree.entries()
    data = entry.read_bytes()
    entry.unlink()
    os.mkfifo(entry)
    assert codes(tree.scan()) == ["ND101"]
    assert tree.examined == [MAIN]
    (tree.folder / "planted").write_bytes(data)
    entry.unlink()
    entry.symlink_to(tree.folder / "planted")
    assert codes(tree.scan()) == ["ND101"]
    assert tree.examined == [MAIN]
    assert (tree.folder / "planted").read_bytes() == data


def test_an_entry_larger_than_any_of_ours_is_none(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree.folder, {MAIN: SICK})
    tree.scan()
    monkeypatch.setattr(caching, "MAX_ENTRY", 100)
    assert codes(tree.scan()) == ["ND101"]
    assert tree.examined == [MAIN]
    [entry] = tree.entries()
    entry.unlink()
    tree.scan()
    assert tree.entries() == [], "what would not be read is not written"


def test_what_a_report_holds_comes_back_as_it_was() -> None:
    from reports import NASTY_REPORT, SCAN  # both with all that a finding can hold

    findings = (*SCAN.findings, *(replace(finding, code="ND101") for finding in NASTY_REPORT.findings))
    assert {finding.severity for finding in findings} == {Severity.ERROR, Severity.INFO}
    assert all(PREFIX.fullmatch(finding.code) for finding in findings)
    entry = (Verdict(findings, SCAN.failures), Asked({"/a\udcff.py": "0"}, {"/": {"b": False}}, 3))
    assert decode(encode(entry)) == entry


# Several runs


def process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nndoctor", "scan", "--output-format", "json", "--jobs", "1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(nndoctor.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_runs_at_the_same_time_leave_it_valid(tree: Tree) -> None:
    write(tree.folder, {f"{number}.py": SICK + f"# {number}\n" for number in range(5)})
    runs = [process(tree.folder) for _ in range(2)]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [1, 1]
    assert outputs[0] == outputs[1]
    assert len(tree.entries()) == 5
    again = process(tree.folder)
    assert again.communicate()[0] == outputs[0]


def test_a_run_that_is_killed_leaves_it_valid(tree: Tree) -> None:
    write(tree.folder, {f"{number}.py": SICK + f"# {number}\n" for number in range(30)})
    run = process(tree.folder)
    while run.poll() is None and not tree.entries():
        pass
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert codes(tree.scan()) == ["ND101"] * 30
