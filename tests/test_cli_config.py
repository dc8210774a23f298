"""`nndoctor config`: what it prints, and that it could be a file of settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import tomli

from nndoctor.catalog import rule_names
from nndoctor.config import Settings, load_settings
from nndoctor.thresholds import known


def origins(text: str) -> dict[str, str]:
    """Setting to origin, as they are printed; names of tables are left out."""
    lines = (line.rpartition("  # ") for line in text.splitlines()[1:] if "  # " in line)
    return {name.removeprefix("# ").partition("=")[0].strip(): origin for name, _, origin in lines}


def test_without_a_file_everything_is_a_default(run) -> None:
    status, out, err = run("config")
    assert (status, err) == (0, "")
    assert out.startswith("# settings for .: no file has any\n")
    assert set(origins(out).values()) == {"default", "default: none"}
    Path("nndoctor.toml").write_text(out, encoding="utf-8")
    assert load_settings(Path()).fail_on is Settings().fail_on


def test_each_value_says_where_it_comes_from(run) -> None:
    Path("nndoctor.toml").write_text('extend = "base.toml"\nselect = ["ND1"]\n[probe]\nseed = 3\n', encoding="utf-8")
    Path("base.toml").write_text(
        'pedantic = true\nselect = ["ND2"]\n[per-file-ignores]\n"a \\"b.py" = ["ND101"]\n', encoding="utf-8"
    )
    out = run("config", "--config", 'fail-on="error"', "--config", "probe.seed=4")[1]
    assert out.startswith("# settings for .: --config, before nndoctor.toml, before base.toml\n")
    found = origins(out)
    assert (found["pedantic"], found["ignore"], found['"a \\"b.py"']) == ("base.toml", "default", "base.toml")
    assert (found["fail-on"], found["seed"], found["effort"]) == ("--config", "--config", "default")
    assert 'select = ["ND1"]' in out
    document = tomli.loads(out)
    assert (document["fail-on"], document["probe"]["seed"]) == ("error", 4)
    assert document["per-file-ignores"] == {'a "b.py': ["ND101"]}


def test_what_is_printed_means_the_same(run) -> None:
    Path("nndoctor.toml").write_text(
        'select = ["ND1"]\nextend-select = ["ND405"]\nexclude = ["a\\\\b/"]\nbaseline = "old.json"\n'
        'minimum-torch = "2.0"\n[per-file-ignores]\n"tests/*" = ["ND"]\n',
        encoding="utf-8",
    )
    before = load_settings(Path())
    Path("nndoctor.toml").write_text(run("config")[1], encoding="utf-8")
    after = load_settings(Path())
    assert after.probe.select == frozenset(rule_names()), "all, which is also what none selected means"
    assert after.thresholds == {name: it.default for name, it in known().items()}
    assert replace(after, probe=before.probe, thresholds={}) == before


def test_the_settings_of_a_path_are_shown(run) -> None:
    Path("src").mkdir()
    Path("src/train.py").touch()
    Path("src/pyproject.toml").write_text("[tool.nndoctor]\npedantic = true\n", encoding="utf-8")
    assert "pedantic = false" in run("config")[1]
    out = run("config", "src/train.py")[1]
    assert "pedantic = true" in out
    assert origins(out)["pedantic"] == "src/pyproject.toml"
    assert "pedantic = false" in run("config", "src", "--isolated")[1]


def test_a_wrong_setting_is_2(run) -> None:
    Path("nndoctor.toml").write_text("selct = []\n", encoding="utf-8")
    status, out, err = run("config")
    assert (status, out) == (2, "")
    assert err == "nndoctor: error: nndoctor.toml has no key 'selct'; did you mean select?\n"


def test_scan_takes_values_and_isolation(run) -> None:
    Path("net.py").write_text("from torch import nn\nnorm = nn.BatchNorm1d(8, 0.8)\n", encoding="utf-8")
    Path("nndoctor.toml").write_text('ignore = ["ND405"]\n', encoding="utf-8")
    assert run("scan", "net.py")[0] == 0
    assert run("scan", "net.py", "--isolated")[0] == 1
    assert run("scan", "net.py", "--config", "ignore=[]")[0] == 1
    assert run("scan", "net.py", "--isolated", "--config", 'ignore=["ND405"]')[0] == 0
