"""The paper: what it says is measured, what it shows is made by the pipeline, and its PDF is made, always the same.

No number is typed into `paper/main.tex`. What is not measured may stand there, and is told from the rest by form:

* in displayed equations, whole numbers below ten: the constants of a formula;
* in formulae within the text, 0, 1 and 2, and whole numbers in exponents (below ten) and in subscripts;
* the levels of intervals, 68 % and 95 %;
* numbers as words up to twelve;
* what LaTeX alone reads: labels, citations, names of files, lengths, and all that stands before the text begins.
"""

import json
import re
import shutil

import pytest
import yaml
from pipeline import wings
from programs import program

from analysis.core.files import BorderError
from analysis.core.paths import ROOT
from analysis.core.provenance import import_closure
from analysis.report import paper
from analysis.report.paper import MACROS, PAPER, constant, macro, macros
from analysis.report.pdf import PACKAGES, PROGRAMS, build_pdf
from analysis.report.typeset import latex, latex_number, latex_text

MAIN = (PAPER / "main.tex").read_text(encoding="utf-8")
STAGE = yaml.safe_load((PAPER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["paper"]
NUMBERS = yaml.safe_load(MACROS.read_text(encoding="utf-8"))
OF_LATEX = {"Bigl", "Bigr", "Delta", "Omega"}
STRUCTURE = re.compile(
    r"\\(?:cite\w*|ref|label|input|includegraphics|begin|end|bibliography|bibliographystyle|vspace|setlength"
    r"|notebook)\*?(?:\[[^\]]*\])*(?:\{[^{}]*\})*"
)
EQUATION = re.compile(r"\\begin\{(equation|align|gather)\}(.*?)\\end\{\1\}", re.DOTALL)
LEVEL = re.compile(r"\b(?:68|95)\\,\\%")
LARGE_WORDS = re.compile(
    r"\b(?:thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundreds?|thousands?|millions?|dozens?)\b",
    re.IGNORECASE,
)
BOASTS = (
    "best map",
    "best cosmos",
    "highest quality",
    "state of the art",
    "state-of-the-art",
    "sharpest",
    "unprecedented",
)


def body(text):
    """The text of a paper without comments and without what stands before it."""
    return re.sub(r"(?<!\\)%.*", "", text.partition(r"\begin{document}")[2])


def typed_numbers(text):
    """Numbers of LaTeX source that are no constants of a formula."""
    equations = [re.sub(r"\\label\{[^}]*\}", "", equation) for _, equation in EQUATION.findall(text)]
    found = [number for equation in equations for number in re.findall(r"\d[\d.,]*\d", equation)]
    text = STRUCTURE.sub(" ", EQUATION.sub(" ", text))
    text = LEVEL.sub(" ", text)
    for formula in re.findall(r"(?<!\\)\$(.*?)(?<!\\)\$", text, re.DOTALL):
        rest = re.sub(r"_(?:\{[^{}]*\}|\d)", " ", formula)
        rest = re.sub(r"\^(?:\{-?\d(?:/\d)?\}|\d)", " ", rest)
        found += [number for number in re.findall(r"\d[\d.]*", rest) if number.rstrip(".") not in ("0", "1", "2")]
    text = re.sub(r"(?<!\\)\$.*?(?<!\\)\$", " ", text, flags=re.DOTALL)
    return found + re.findall(r"\d[\d.]*", text) + LARGE_WORDS.findall(text)


# the text


def test_no_number_is_typed():
    assert typed_numbers(body(MAIN)) == []


@pytest.mark.parametrize(
    "text",
    [
        "an error of 0.89",
        "on 32 mocks",
        "on sixteen boxes",
        "hundreds of mocks",
        "with $r=0.74$",
        "$\\sigma=5$ or so",
        "$0.5\\,\\%$",
        "of $80^2$ pixels",
        "$p=8\\times10^{-5}$",
        r"\begin{equation} x = 0.9\,\rho \end{equation}",
        r"\begin{gather} 12x \\ y \end{gather}",
        "$67\\,\\%$ of truths",
    ],
)
def test_a_typed_number_is_found(text):
    assert typed_numbers(text)


@pytest.mark.parametrize(
    "text",
    [
        "$2n/(n+1)$ and $1/2$ of $x^{-1}$, $y^{1/2}$, $k^4$, $M_{500}$ and $p_1$",
        r"\begin{equation} \frac{3}{2}\,\Omega_m + z^{4} \label{eq:12} \end{equation}",
        r"Sect.~\ref{sec:2} of \citet[e.g.][]{remy2020}, \input{tables/a1}",
        "intervals of $68\\,\\%$, on $\\Mocks$ mocks with two networks",
    ],
)
def test_a_constant_of_a_formula_is_none(text):
    assert typed_numbers(text) == []


def test_macros_are_used_and_only_they():
    used = set(re.findall(r"\\([A-Z][A-Za-z]*)", body(MAIN))) - OF_LATEX
    assert used == {*NUMBERS, "ReferenceWarning"}


def test_every_citation_is_a_reference_and_every_reference_is_cited():
    cited = {
        key.strip()
        for keys in re.findall(r"\\cite\w*\*?(?:\[[^\]]*\])*\{([^}]*)\}", body(MAIN))
        for key in keys.split(",")
    }
    references = re.findall(r"^@\w+\{(\w+),", (PAPER / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(references) == len(set(references))
    assert cited == set(references)


@pytest.mark.parametrize("boast", BOASTS)
def test_nothing_is_boasted_of(boast):
    assert boast not in " ".join(body(MAIN).lower().split())


# figures and tables


def floats(kind):
    """Source of every float of a kind."""
    return re.findall(rf"\\begin\{{{kind}\*?\}}(.*?)\\end\{{{kind}\*?\}}", body(MAIN), re.DOTALL)


def makers():
    """Stage of the default pipeline that has each figure among its outputs."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {
        path: name
        for name, stage in stages.items()
        for out in stage.get("do", stage).get("outs", [])
        for path in ([out] if isinstance(out, str) else out)
    }


def test_every_figure_is_made_by_the_stage_that_its_caption_names():
    made = makers()
    for figure in floats("figure"):
        (name,) = re.findall(r"\\includegraphics\[[^\]]*\]\{\.\./([^}]*)\}", figure)
        output = name.replace("figures/", "figures/run/")
        assert output in made, f"{output} is no output of a stage"
        assert re.findall(r"\\notebook\{(\w+)\}", figure.partition(r"\caption")[2]) == [made[output]], name
        assert name in STAGE["deps"]


def test_every_table_is_generated_and_names_a_notebook():
    outs = {path for out in STAGE["outs"] for path in out}
    for table in floats("table"):
        (name,) = re.findall(r"\\input\{(tables/\w+)\}", table)
        assert f"paper/{name}.tex" in outs
        assert "tabular" not in table
        (notebook,) = re.findall(r"\\notebook\{(\w+)\}", table.partition(r"\caption")[2])
        assert (ROOT / "notebooks" / f"{notebook}.ipynb").is_file()


def test_nothing_is_included_but_in_floats():
    text = body(MAIN)
    assert text.count(r"\includegraphics") == len(floats("figure"))
    assert text.count(r"\input") == len(floats("table"))


# what is generated


def test_stage_depends_on_all_the_code_that_it_reads(tmp_path):
    cell = {"cell_type": "code", "source": ["from analysis.report import paper"]}
    (tmp_path / "paper.ipynb").write_text(json.dumps({"cells": [cell]}))
    paths = [entry if isinstance(entry, str) else entry[0] for entry in NUMBERS.values()]
    quoted = {f"{path.split('/')[1].replace('.', '/')}.py" for path in paths if path.startswith("code/")}
    assert all((ROOT / path).is_file() for path in quoted)
    assert MACROS.relative_to(ROOT).as_posix() in STAGE["deps"]
    listed = {path for path in STAGE["deps"] if path.startswith("analysis/")}
    assert listed == wings([*quoted, *import_closure(tmp_path / "paper.ipynb")])


def test_a_missing_number_is_named_with_its_macro():
    with pytest.raises(BorderError, match=r"^quick/accuracy/rmse, .*\\Ratio, is missing \('rmse' is not there\)"):
        macro({"quick": {"accuracy": {}}}, "Ratio", "quick/accuracy/rmse")
    with pytest.raises(BorderError, match=r"quick/peaks, .*\\Peaks, has no value"):
        macro({"quick": {"peaks": None}}, "Peaks", "quick/peaks")
    with pytest.raises(BorderError, match=r"the paper needs 'settings', which was not measured"):
        macros({})


def test_constants_are_those_of_the_code():
    assert constant("analysis.prior.score", "SKIP_HEIGHT") == 2.0
    assert macro({}, "High", "code/analysis.report.readme_tables/EVIDENCE_ELL/1") == "3000"
    for module, name in (("analysis.prior.score", "SKIPP"), ("analysis.prior.scores", "SKIP_HEIGHT")):
        with pytest.raises(BorderError, match=rf"^{module} has no constant {name}"):
            constant(module, name)


def test_a_number_has_the_digits_of_its_metric_unless_others_are_set():
    sources = {"quick": {"presence": {"cosmos": {"chance": 0.0412, "probability": 0.213, "probability_err": 0.031}}}}
    assert macro(sources, "Chance", "quick/presence/cosmos/chance") == "4"
    assert macro(sources, "Chance", "quick/presence/cosmos/chance", ".1%") == "4.1"
    assert macro(sources, "Presence", "quick/presence/cosmos/probability") == r"21.3\pm3.1"
    by_statistic = {"coverage68_by_statistic": {"band_0": 0.68}, "coverage68_by_statistic_err": {"band_0": 0.02}}
    path = "calibration/sky/coverage68_by_statistic/band_0"
    assert macro({"calibration": {"sky": by_statistic}}, "Coverage", path) == r"68.0\pm2.0"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.88475, 0.00976, r"0.885\pm0.010"),
        (67.554, 0.5495, r"67.6\pm0.5"),
        (68.2, 1.34, r"68.2\pm1.3"),
        (1.0081357, 0.0031727, r"1.0081\pm0.0032"),
        (-0.58, 0.0988, r"-0.58\pm0.10"),
        (55.8, 5.29, r"56\pm5"),
        (1234.5, 36.0, r"1234\pm36"),
        (0.5, 0.0, "0.5"),
    ],
)
def test_a_number_has_the_digits_of_its_error(value, error, text):
    assert latex_number(value, error=error) == text
    assert latex_number(value / 100, ".0%", error / 100) == text


def test_numbers_are_written_for_latex():
    assert latex_number(417117) == r"417\,117"
    assert latex_number(8949) == "8949"
    assert latex_number(0.82) == "0.82"
    assert latex_number(8.76e-05, ".2g") == r"8.8\times10^{-5}"
    assert latex_number(0.0417, ".2g") == "0.042"
    assert latex_number(2.1e-9, ".1e") == r"2.1\times10^{-9}"
    assert latex_number(0.1234, ".1%") == "12.3"
    assert latex_number("0.04") == "0.04"


def test_cells_of_a_table_become_latex():
    assert latex_text("`quick`: 3.1 ± 0.2 %") == r"\texttt{quick}: 3.1 $\pm$ 0.2 \%"
    assert latex_text("-0.7 < 2, 8.76e-05, a-b_c, σ ≤ 1") == (
        r"$-$0.7 $<$ 2, $8.76\times10^{-5}$, a-b\_c, $\sigma$ $\leq$ 1"
    )
    table = latex(["check", "found"], [["power, worst band", "0.1"], ["x", ""]])
    assert r"power, worst band & 0.1 \\" in table
    assert table.count(r"\hsize=") == 2
    assert re.findall(r"hsize=([\d.]+)", table) == ["1.545", "0.455"]


# the PDF


@pytest.fixture
def copied(tmp_path):
    """Copy the paper and its figures as they lie here, without a PDF."""
    shutil.copytree(PAPER, tmp_path / "paper", ignore=shutil.ignore_patterns("*.pdf"))
    (tmp_path / "figures").mkdir()
    for path in (ROOT / "figures").glob("*.pdf"):
        shutil.copy(path, tmp_path / "figures")
    return tmp_path / "paper"


@pytest.fixture
def latex_here():
    """Skip where LaTeX is not installed."""
    for name in PROGRAMS:
        program(name)


@pytest.mark.usefixtures("latex_here")
def test_pdf_is_made_and_the_same_bytes_twice(copied):
    log = build_pdf(copied)
    first = (copied / "main.pdf").read_bytes()
    assert first.startswith(b"%PDF-")
    assert b"CreationDate" not in first
    pages = int(re.search(r"Output written on .*\((\d+) pages", log)[1])
    assert 5 <= pages <= 14
    assert re.findall(r"^Overfull .*", log, re.MULTILINE) == []
    build_pdf(copied)
    assert (copied / "main.pdf").read_bytes() == first


@pytest.mark.usefixtures("latex_here")
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (r"\Pixels", r"\Pixls", r"pdflatex stopped: ! Undefined control sequence. l.\d+ .*\\Pixls"),
        (r"\citet{remy2020}", r"\citet{remy2019}", "Citation `remy2019'"),
        (r"\ref{sec:data}", r"\ref{sec:dates}", "Reference `sec:dates'"),
    ],
)
def test_a_fault_of_the_text_is_told_in_one_sentence(copied, before, after, told):
    assert before in body(MAIN)
    begin, document, text = MAIN.partition(r"\begin{document}")
    (copied / "main.tex").write_text(begin + document + text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(BorderError, match=told):
        build_pdf(copied)
    assert not (copied / "main.pdf").exists()


def test_without_latex_numbers_are_made_and_packages_named(copied, monkeypatch):
    monkeypatch.setattr(paper, "PAPER", copied)
    (copied / "numbers.tex").unlink()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BorderError, match=rf"^pdflatex and bibtex not found.*apt-get install {' '.join(PACKAGES)}"):
        paper.main()
    assert r"\newcommand{\ReferenceRmseRatio}" in (copied / "numbers.tex").read_text(encoding="utf-8")


def test_ci_installs_what_latex_needs():
    installed = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert [package for package in PACKAGES if package not in installed] == []


def test_timings_of_the_default_run_are_summed(tmp_path):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    (tmp_path / "timings").mkdir()
    for name, seconds in (("theory", 10.0), ("sample_cosmos", 20.0), ("benchmark", 999.0)):
        cost = {"wall_s": seconds, "peak_memory_gb": seconds / 10}
        (tmp_path / "timings" / f"{name}.json").write_text(json.dumps(cost))
    assert paper.whole_run(tmp_path, tmp_path) == {"wall_s": 30.0, "peak_memory_gb": 2.0}
