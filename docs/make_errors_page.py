"""Write docs/reference/errors.md from the tables of `wholesight.codes` and the kinds of errors.

Run from the root of the repository: python docs/make_errors_page.py
"""

from pathlib import Path

from wholesight.codes import NOTES, REFUSALS

PAGE = Path(__file__).parent / "reference" / "errors.md"

HEAD = """\
# Codes

Every file, scan and data set ends in one of three ways: used; used with a **note** (`N_...`); or
**refused** with a code (`E_...`) and a message that says what is wrong, where, and what to do next.
Codes are stable and stand in `failures.tsv`, in the JSON beside every result, and in
`wholesight info FILE --json`.

| exit | what it says |
|---|---|
| 0 | all well |
| 1 | internal fault, a bug of ours |
| 2 | the command, an option or a recipe cannot be meant as it was written |
| 3 | no usable input |
| 4 | some cases failed, the rest is written |
| 5 | the output cannot be written |
| 6 | the model was refused |
| 7 | all cases failed |
| 130 | stopped by Ctrl-C |

This page is made from the code: `python docs/make_errors_page.py`.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for title, table in (("Refused", REFUSALS), ("Notes", NOTES)):
        parts.append(f"## {title}\n")
        for group, codes in table.items():
            rows = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in codes.items())
            parts.append(f"### {group}\n\n| code | meaning |\n|---|---|\n{rows}")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
