"""Every code has a meaning, every meaning a code, and the page of them is that of the code."""

import ast
import re
import runpy
from pathlib import Path

from wholesight.cli import main
from wholesight.codes import MEANINGS, NOTES, REFUSALS

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"[EN]_[A-Z_]+")


def used() -> set[str]:
    """The codes that stand as strings in the sources, other than in the tables themselves."""
    found = set()
    for path in (ROOT / "src" / "wholesight").rglob("*.py"):
        if path.name == "codes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if CODE.fullmatch(node.value) else set()
    return found


def test_every_code_has_a_meaning_and_every_meaning_a_code():
    assert used() == set(MEANINGS)


def test_a_code_is_a_refusal_or_a_note_by_its_letter_and_stands_once():
    for table, letter in ((REFUSALS, "E"), (NOTES, "N")):
        codes = [code for group in table.values() for code in group]
        assert all(CODE.fullmatch(code) and code[0] == letter for code in codes)
        assert len(codes) == len(set(codes))
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())


def test_the_page_is_made_of_the_code():
    made = runpy.run_path(str(ROOT / "docs" / "make_errors_page.py"))["page"]()
    assert (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8") == made


def test_the_page_tells_every_exit_code_of_the_command_line():
    told = re.findall(
        r"^\| (\d+) \|", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE
    )
    assert main.__doc__
    assert set(told) == set(re.findall(r"(?:^|· )(\d+) [a-z]", main.__doc__, re.MULTILINE))
