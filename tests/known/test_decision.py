"""What a cohort's decision says it takes is what it takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholesight.cohort.decision import Decision, decide

COHORT = {
    "normals": st.integers(1, 300),
    "scans": st.integers(1, 60),
    "fdr": st.sampled_from([0.01, 0.05, 0.1, 0.2, 1 / 3]),
}


def record(p_value: float | None, *, normals: int = 19, **changed) -> dict:
    told = {"subject": object(), "site": None, "threshold": {"doubts": []}, "notes": [], **changed}
    told = {"flagged_ml": 1.0, **told}
    return {"p_value": p_value, "normal_subjects": normals, **told}


def cohort(*, normals: int, scans: int, odd: int, fdr: float) -> Decision:
    """Decide over scans of which so many have the smallest p-value there is, the others 1."""
    p = [1 / (normals + 1)] * odd + [1.0] * (scans - odd)
    return decide({str(k): record(each, normals=normals) for k, each in enumerate(p)}, fdr=fdr)


def few_normals(found: Decision) -> str | None:
    return next((each["text"] for each in found.notes if each["code"] == "N_FEW_NORMALS"), None)


@given(**COHORT)
def test_it_is_said_exactly_when_a_single_odd_scan_is_not_called(normals, scans, fdr):
    found = cohort(normals=normals, scans=scans, odd=1, fdr=fdr)
    assert (few_normals(found) is None) == any(found.called.values())


@given(**COHORT)
def test_so_many_odd_scans_as_are_named_are_called_and_fewer_are_not(normals, scans, fdr):
    said = few_normals(cohort(normals=normals, scans=scans, odd=1, fdr=fdr)) or ""
    named = re.search(r"at least (\d+) are called", said)
    fewest = int(named[1]) if named else scans if not said else scans + 1
    if named:
        called = cohort(normals=normals, scans=scans, odd=fewest, fdr=fdr).called
        assert sum(called.values()) == fewest
    if said:
        called = cohort(normals=normals, scans=scans, odd=fewest - 1, fdr=fdr).called
        assert not any(called.values())


@given(**COHORT)
def test_with_as_many_normals_as_it_takes_one_odd_scan_is_called(normals, scans, fdr):
    said = few_normals(cohort(normals=normals, scans=scans, odd=1, fdr=fdr))
    if said is None:
        return
    takes = re.search(r"It takes (\d+) normal subject", said)
    assert takes
    enough = int(takes[1])
    assert cohort(normals=enough, scans=scans, odd=1, fdr=fdr).called["0"]
    assert not cohort(normals=enough - 1, scans=scans, odd=1, fdr=fdr).called["0"]
    together = re.search(rf"and (\d+) for any to be called if all {scans} are odd", said)
    if together:
        for there, called in ((int(together[1]), True), (int(together[1]) - 1, False)):
            found = cohort(normals=there, scans=scans, odd=scans, fdr=fdr)
            assert set(found.called.values()) == {called}


def test_where_sites_differ_each_is_told_what_its_normals_can_show():
    """One scan of a site with few normals is no warning to those of another with many."""
    few, many = record(0.1, normals=9, site="A"), record(0.01, normals=99, site="B")
    found = decide({"a": few, "b": many}, fdr=0.05)
    assert found.called == {"a": False, "b": True}
    [note] = found.notes
    assert "1/10" in note["text"]
    assert "none of site A can be called abnormal, however odd it is" in note["text"]


def test_a_scan_without_p_value_is_not_called_and_does_not_count():
    why = [{"code": "N_NO_P", "text": "No p-value: so it is."}]
    records = {"a": record(0.05), "b": record(None, notes=why), "c": record(None, notes=why)}
    found = decide(records, fdr=0.05)
    assert [found.answer(case) for case in records] == ["yes", "", ""]
    assert found.line == "1 of 1 scan called abnormal at FDR 5 %"
    assert [note["text"] for note in found.notes] == [
        "2 scans without a p-value. No p-value: so it is. The FDR is over the other 1."
    ]


@pytest.mark.parametrize("records", [{}, {"a": record(None)}])
def test_where_nothing_is_tested_nothing_is_said_to_be_normal(records):
    found = decide(records, fdr=0.05)
    assert found.line is None
    assert found.to_json() == {"fdr": 0.05, "tested": 0, "abnormal": 0, "notes": []}


@pytest.mark.parametrize(("empty", "filled", "said"), [(5, 0, True), (4, 0, False), (9, 1, False)])
def test_it_is_said_when_no_mask_of_many_flags_anything(empty, filled, said):
    volumes = [0.0] * empty + [0.1] * filled
    found = decide({str(k): record(None, flagged_ml=v) for k, v in enumerate(volumes)}, fdr=0.05)
    assert ("N_ALL_EMPTY" in [note["code"] for note in found.notes]) == said


def test_scans_that_are_not_new_to_the_model_are_named_once():
    seen = [{"code": "N_SEEN", "text": "It served."}]
    found = decide({"a": record(0.05, notes=seen), "b": record(0.05)}, fdr=0.9)
    [text] = [note["text"] for note in found.notes if note["code"] == "N_SEEN"]
    assert text.startswith(
        "1 of 2 scans are of subjects that served the training or the calibration (a)"
    )


def test_one_subject_s_scans_and_doubts_are_said_once():
    of_one = {"subject": "s", "threshold": {"doubts": ["It is old.", "It is far."]}}
    found = decide({k: record(0.05, **of_one) for k in "ab"}, fdr=0.9)
    assert [note["code"] for note in found.notes] == ["N_SUBJECTS", "N_DOUBT"]
    assert found.notes[0]["text"].startswith("The 2 scans are of 1 subject.")
    assert found.notes[1]["text"].count("It is old.") == 1
