"""The lists of settings, the tables made of them, and reproducing it all."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from reasvqa import paths
from reasvqa.companion import paper, results, saving, tables
from reasvqa.companion.experiments import EXPERIMENTS, all_settings, settings_of
from reasvqa.companion.latex import to_latex
from reasvqa.evaluation import Estimate

# --- settings ---------------------------------------------------------------------------------------------------------


def test_equal_settings_are_one_run():
    """The paper's own identities: beta = 0 is STL_QA, beta = 0.5 with all refined reasoning is MTL_All, and so on."""
    of = {name: settings_of(name, "mini", [0]) for name in EXPERIMENTS}
    assert (
        of["figure4"]["star", "0.0"]
        == of["table5"]["star", "STL_QA"]
        == of["table8"]["star", "w/o. Reasoning"]
        == of["table9"]["star", "QA only"]
    )
    assert (
        of["figure4"]["star", "0.5"]
        == of["table5"]["star", "MTL_All"]
        == of["figure3"]["star", "Refined, All"]
        == of["table8"]["star", "ReasVQA (3B)"]
    )
    assert of["table5"]["nextqa", "MTL_CR"] == of["figure3"]["nextqa", "Refined, CR"]
    assert (
        of["table1"]["nextqa", "ReasVQA"]
        == of["table3"]["nextqa", "BLIP-FlanT5(3B) w. ReasVQA"]
        == of["table6"]["nextqa", "BLIP-FlanT5 (w. ReasVQA)"]
    )
    assert of["strength"]["nextqa", "Refined, sim-26b"] == of["table5"]["nextqa", "MTL_All"]
    assert of["table10"]["nextqa", "Refined, All"] != of["table5"]["nextqa", "MTL_All"]  # another generator
    once = all_settings("mini", [0])
    assert len(once) == len(set(once)) < sum(len(settings) for settings in of.values())


def test_important_rows_get_more_seeds():
    def seeds(experiment: str, row: str, dataset: str = "nextqa") -> list[int]:
        return [config.seed for config in settings_of(experiment, "mini", [0, 1, 2])[dataset, row]]

    assert seeds("table5", "MTL_All") == seeds("table3", "BLIP-FlanT5(3B)") == seeds("figure4", "0.9") == [*range(8)]
    assert seeds("controls", "MTL_All") == seeds("dose", "answers only, clear pictures") == [0, 1, 2, 3, 4]
    assert seeds("table3", "LLaVA-OV(7B)") == [0, 1, 2]
    assert seeds("table8", "w/o. LoRA", "star") == [1000, 1001, 1002]
    assert len(settings_of("table5", "smoke", [7])["star", "MTL_All"]) == 1
    for what in EXPERIMENTS.values():
        assert set(what.more) <= set(what.rows) >= set(what.official)


def test_the_miniature_leaves_rows_to_official_data():
    amounts = [row for dataset, row in settings_of("figure3", "mini", [0]) if dataset == "star"]
    assert amounts == [f"{kind}, {amount}" for kind in ("Original", "Refined") for amount in ("25% CR", "CR", "All")]
    assert len(settings_of("figure3", "paper", [0], ["star"])) == 10
    assert len(settings_of("figure4", "paper", [0], ["star"])) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table5", "large", [0]), "scale='large': choose one of mini, preview, smoke, paper"),
        (("table55", "mini", [0]), "experiment='table55': choose one of table1"),
        (("figure4", "mini", [0, 0]), "give a list of different"),
        (("figure4", "mini", [0], ["intentqa"]), "datasets='intentqa': choose one of nextqa, star"),
        (("figure4", "mini", [0], None, ["0.55"]), "rows='0.55': choose one of 0.0, 0.1"),
    ],
)
def test_wrong_names_say_what_is_possible(arguments, message):
    with pytest.raises(ValueError, match=message):
        settings_of(*arguments)


# --- the paper's numbers ----------------------------------------------------------------------------------------------


def test_what_the_paper_prints_and_what_follows():
    """The contradictions that were found by reading, found again by the code of notebook 32."""
    notebook = nbformat.read(paths.notebooks() / "32_paper_numbers.ipynb", 4)
    values: dict = {}
    for source in [cell.source for cell in notebook.cells if cell.cell_type == "code"][:4]:
        exec(source, values)
    checks = values["checks"]
    odd = checks[~checks["agrees"]]
    found = " | ".join(odd["where"] + ": " + odd["what"])
    for known in (
        "Tables 3 and 5: BLIP-FlanT5, answers only, NExT-QA",
        "Tables 3 and 5: BLIP-FlanT5, answers only, IntentQA",
        "Tables 4 and 9: InternVL(26B) on STAR",
        "STAR: gain over the best other FlanT5-3B model",
        "Table 6: Temporal[ATP]",
        "STAR: ViLA has 3 of 5 values of SeViLA",
        "more substantial impact",
        "3.2% improvement",
    ):
        assert known in found, known
    assert len(odd) == 14 and checks[checks["kind"] == "average"]["agrees"].all()
    assert not set(odd["kind"]) & {"average"}


# --- tables -----------------------------------------------------------------------------------------------------------


def test_tables_are_exported_for_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "figures", lambda scale: tmp_path)
    ours = pd.DataFrame({"NExT-QA": [50.123], "Avg": [50.0]}, index=["MTL_All"])
    whole = tables.beside(paper.table(5), ours, "mini")
    saving.save_table(whole, "t", "mini", caption="100 % of it")
    text = (tmp_path / "t.tex").read_text()
    assert (
        r"\toprule" in text
        and r"MTL\_All & 76.8 & 73.2 & 77.0 & 75.7" in text
        and r"MTL\_All & 50.1 & -- & -- & 50.0" in text
        and r"100 \% of it" in text
    )
    assert (
        pd.read_csv(tmp_path / "t.csv").shape == (6, 6)
        and json.loads((tmp_path / "t.json").read_text())["scale"] == "mini"
    )
    assert whole.index.get_level_values("source").unique().tolist() == ["paper, as printed", "ours, miniature"]
    assert "<script" not in tables.styled(whole.rename(index={"MTL_All": "<script>"})).data


def test_readers_see_our_names_beside_the_papers():
    ours = pd.DataFrame({"Tot": [50.0, 51.0]}, index=["w/o. Reasoning", "ReasVQA (3B)"])
    page = tables.styled(tables.beside(paper.table(8), ours, "mini")).data
    assert page.count("w/o. Reasoning") == page.count("answers only (STL_QA)") == 1 and "MTL_All" in page
    assert results.our_names(ours.rename({"ReasVQA (3B)": "LLaVA-OV(7B)"}), "mini").index.tolist() == [
        "answers only (STL_QA)",
        "mini-llava-ov, answers only",
    ]


def measured(value: float, half_width: float) -> Estimate:
    """An estimate with this interval; of one video, where the half-width is NaN."""
    return Estimate(value, value - half_width, value + half_width, 1, 9, 0.5, 3, 30, 90, 1)


def test_latex_has_whole_numbers_intervals_and_one_number_for_a_table():
    table = pd.DataFrame({"questions": [3000.0, 480.0], "accuracy": [61.0, measured(70.25, 1.25)]}, index=["a", "b"])
    text = to_latex(table, "Table 7, STAR: sizes. Ours: mini-star (one; two)", "sizes")
    assert "a & 3000 & 61.0 " in text and r"b & 480 & 70.2\,{\scriptsize$\pm$1.2} " in text
    assert r"\caption{Sizes (STAR; the paper's Table 7). Ours: mini-star (one; two)}" in text
    assert "caption{100 of them}" in to_latex(table, "100 of them", "sizes")
    assert r"a & 61.0 " in to_latex(pd.DataFrame({"x": [measured(61.0, float("nan"))]}, index=["a"]), "one video", "x")


def overfull(texts: list[str], folder: Path) -> list[str]:
    """What LaTeX says of these tables in an article: boxes that stick out by more than 5 pt."""
    latex = shutil.which("pdflatex")
    if latex is None:
        pytest.skip("no LaTeX here (pdflatex)")
    body = "\n\\clearpage\n".join(texts)
    packages = r"\documentclass{article}\usepackage{booktabs,longtable,adjustbox}"
    document = f"{packages}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (folder / "all.tex").write_text(document)
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    boxes = re.findall(r"Overfull \\[hv]box \(([\d.]+)pt.*|Float too large for page by ([\d.]+)pt", done.stdout)
    return [a or b for a, b in boxes if float(a or b) > 5]


COMMITTED = sorted((paths.SHIPPED.parent / "figures").glob("*.tex"))


def test_committed_tables_compile_and_fit(tmp_path):
    assert not overfull([path.read_text() for path in COMMITTED], tmp_path)


def test_any_table_compiles_and_fits(tmp_path):
    odd = r"a_b & 50 % of $x$ {y} \z ~ ^ # < > | ± β ≥"
    long = "a claim that goes on for longer than a line of a page has room, and says so in many words; " * 2
    narrow = pd.DataFrame({odd: [1.0, None], "text": [odd, "b"]}, index=[odd, "c"])
    wide = pd.DataFrame({f"NExT-QA {share}% CR": [72.34, 71.0] for share in range(7)}, index=["Original", "Refined"])
    tall = pd.DataFrame({"claim": [long] * 60, "p": ["< 0.001"] * 60, "effect": [1.0] * 60}, index=[long[:30]] * 60)
    wide = wide.map(lambda value: measured(value, 1.2))
    texts = [to_latex(narrow, odd, "odd"), to_latex(wide, "wide", "wide"), to_latex(tall, "tall", "tall")]
    assert r"\begin{longtable}" in texts[2]
    assert not overfull(texts, tmp_path)


def test_data_sets_have_seeds_of_their_own():
    for name in EXPERIMENTS:
        seeds: dict[str, set[int]] = {}
        for (dataset, _), configs in settings_of(name, "mini", [0, 1, 2]).items():
            seeds.setdefault(dataset, set()).update(config.seed for config in configs)
        assert len(set().union(*seeds.values())) == sum(map(len, seeds.values()))
