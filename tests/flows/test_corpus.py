"""Every bad input of the corpus gets what it must get, soon and in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corpus import CORPUS
from wholesight.codes import MEANINGS

ROOT = Path(__file__).parents[2]
ENTRIES = [(kind, bad) for kind, entries in CORPUS.items() for bad in entries.values()]


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What the benchmark measures, each entry in a process of its own."""
    path = tmp_path_factory.mktemp("corpus") / "rows.json"
    words = [sys.executable, str(ROOT / "benchmarks" / "bad_inputs.py"), "--json", str(path)]
    subprocess.run(words, check=True, timeout=280)
    return {(row["kind"], row["name"]): row for row in json.loads(path.read_text())}


@pytest.mark.parametrize(("kind", "bad"), ENTRIES, ids=lambda part: getattr(part, "name", part))
def test_a_bad_input_gets_what_it_must_get(tried, kind, bad):
    ours = tried[kind, bad.name]["ours"]
    assert ours["outcome"] == bad.expected
    assert ours["seconds"] < 2
    assert ours["peak_mb"] < 300


def test_the_corpus_is_as_large_as_it_says():
    least = {"NIfTI": 35, "DICOM": 15, "picture": 10}
    assert all(len(CORPUS[kind]) >= count for kind, count in least.items())
    for _, bad in ENTRIES:
        assert bad.expected == "OK" or set(bad.expected.split()) <= set(MEANINGS)
