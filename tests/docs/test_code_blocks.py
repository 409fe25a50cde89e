"""The pages are run: every Python block, every link, every formula of README.md and docs/.

A block that begins with three backticks and `python` runs, in the order of the page, in one
namespace for each page, in a temporary folder. One marked `python no-run` is only shown.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)

FENCE = re.compile(r"^```(.*?)$\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.DOTALL)


def code_blocks(text):
    """(line on which the code begins, code) for each block that is to be run."""
    for match in FENCE.finditer(text):
        if match[1].strip() == "python":
            yield text.count("\n", 0, match.start(2)), match[2]


def prose(text):
    """The page without its code: no fenced blocks, no `spans`."""
    return re.sub(r"`[^`\n]+`", "code", FENCE.sub("", text))


def anchors(text):
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@each_page
def test_code_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": page.stem}
    for line, code in code_blocks(page.read_text(encoding="utf-8")):
        # Empty lines in front: a traceback then names the page's own line, and shows it.
        exec(compile("\n" * line + code, str(page), "exec"), namespace)


@each_page
def test_fences_are_closed(page):
    """An open fence would swallow the blocks behind it, and they would never run."""
    marks = re.findall(r"^```", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(marks) % 2 == 0


@each_page
def test_links_and_images_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", target):
            continue  # somewhere on the web
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor and file.suffix == ".md":
            found = anchors(file.read_text(encoding="utf-8"))
            assert anchor in found, f"{page.name} links to {target}: no such heading"


@each_page
def test_formulas_survive_github(page):
    """Markdown reads a formula before the mathematics does, and takes some of it for its own.

    A backslash before punctuation, a star, or a `<` with something right behind it is lost or
    turned into something else, and a dollar that touches a letter outside the formula does not
    open or close one.
    """
    text = prose(page.read_text(encoding="utf-8"))
    assert text.count("$") % 2 == 0, f"{page.name}: a dollar sign is missing"
    for match in FORMULA.finditer(text):
        formula = match[1] or match[2]
        where = f"{page.name}: ${formula}$"
        assert formula.count("{") == formula.count("}"), f"{where}: braces do not match"
        assert "\n\n" not in formula, f"{where}: a blank line ends a formula"
        lost = re.findall(r"\\[^a-zA-Z]|\*|<\S|\]\(|\\operatorname", formula)
        assert not lost, f"{where}: {lost} does not survive; use a named command"
        before, after = text[: match.start()][-1:], text[match.end() :][:1]
        assert not (before + after).strip() or not re.search(r"\w", before + after), (
            f"{where}: touches {before!r} or {after!r}"
        )
        if match[2]:
            assert formula == formula.strip(), f"{where}: a space inside the dollars"
