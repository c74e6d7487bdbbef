"""Folds: who trains, sets the threshold and is judged in each; everybody is judged once."""

import json
from itertools import chain

import pytest

from wholesight.benchmark.cells.statements import statements
from wholesight.benchmark.plan import material
from wholesight.benchmark.plan.folds import dealt_in_folds, parts_of
from wholesight.benchmark.plan.leakage import require_no_leak
from wholesight.benchmark.plan.material import gather
from wholesight.benchmark.plan.protocol import draw_up, write_protocol
from wholesight.benchmark.plan.suite import Exclude, Folds
from wholesight.datasets import open_dataset
from wholesight.datasets.scans import file_hashes
from wholesight.errors import InputError, UsageError

FOLDS = Folds(number=2, calibration=1)
FIVE = {"train": ["a", "b"], "validation": ["c"], "test": ["d", "e"]}


def in_folds(suite, *roots, folds=FOLDS, **changes):
    return gather(list(roots), suite.model_copy(update={"folds": folds, **changes}))


def subjects_of(cases):
    return {case.subject for case in cases}


def ids(cases):
    return {case.id for case in cases}


@pytest.mark.parametrize(("number", "calibration"), [(2, 0), (3, 4), (5, 2), (12, 10)])
def test_folds_judge_everybody_once_and_nobody_serves_twice_in_one(tiny_brats, number, calibration):
    names = [f"s{n:02d}" for n in range(12)]
    found = open_dataset(tiny_brats({"train": names[:7], "test": names[7:]}))
    folds = Folds(number=number, calibration=calibration)
    deals = dealt_in_folds(found, folds)
    assert dealt_in_folds(found, folds) == deals
    assert dealt_in_folds(found, folds.model_copy(update={"seed": 1})) != deals
    every = sorted({case.subject for case in found.cases})
    judged = [sorted(subjects_of(each.subset("test"))) for each in deals]
    assert sorted(name for fold in judged for name in fold) == every
    assert max(map(len, judged)) - min(map(len, judged)) <= 1
    for each in deals:
        names_of = ("train", "calibration", "test")
        parts = [[c.subject for c in each.cases if c.split == part] for part in names_of]
        assert sorted(chain(*parts)) == every
        assert len(parts[1]) == calibration
        assert parts[0]


def test_subjects_of_no_split_are_dealt_out_too(suite, tiny_brats):
    root = tiny_brats(FIVE)
    (root / "split.json").write_text(json.dumps({"train": ["a"]}))
    (found,) = in_folds(suite, root)
    assert subjects_of(found.judged) == set("abcde")


@pytest.mark.parametrize(
    "folds", [{"number": 6, "calibration": 0}, {"number": 2, "calibration": 2}]
)
def test_too_few_subjects_for_the_folds(tiny_brats, folds):
    found = open_dataset(tiny_brats(FIVE))
    with pytest.raises(InputError, match=r"5 subjects, too few .* Lower folds\..* Get them\.") as f:
        dealt_in_folds(found, Folds(**folds), needs="Get them.")
    assert f.value.code == "E_NO_CASES"
    dealt_in_folds(found, Folds(number=2, calibration=1))


def test_folds_keep_all_scans_of_a_subject_together(suite, tiny_brats):
    root = tiny_brats(FIVE)
    rows = [
        f"{s}\t{s.replace('b', 'a')}\t{s}/{s}_flair.nii.gz\t{s}/{s}_seg.nii.gz" for s in "abcde"
    ]
    (root / "cases.tsv").write_text("\n".join(["case\tsubject\timage\tmask", *rows]))
    (root / "split.json").unlink()
    (found,) = in_folds(suite, root / "cases.tsv", slices=[2, 4])
    for fold in found.folds:
        assert len({name for name, cases in fold.parts.items() if {"a", "b"} & ids(cases)}) == 1
        assert {case.slices for cases in fold.parts.values() for case in cases} == {(2, 4)}
        assert {*found.files_of(fold, "judged")} == subjects_of(fold.judged)
    require_no_leak([found])


def test_the_protocol_tells_each_fold_and_every_file_once(suite, tiny_brats, tmp_path):
    root, out = tiny_brats(FIVE), tmp_path / "out"
    out.mkdir()
    protocol = draw_up(suite.model_copy(update={"folds": FOLDS}), [root], device="cpu")
    write_protocol(protocol, out)
    told = json.loads((out / "protocol.json").read_text())
    assert told["suite"]["folds"] == {"number": 2, "calibration": 1, "seed": 0}
    data = told["data"]["set"]
    assert data["subset"] == "all subjects in 2 folds"
    assert list(data["subjects"]) == ["fold-1", "fold-2"]
    for fold in data["subjects"].values():
        assert sorted(chain(*fold.values())) == [*"abcde"]
    assert [*data["files"]["judged"]] == [*"abcde"]
    assert len(data["files"]["judged"]["d"]["d/image"]) == 64
    write_protocol(protocol, out)
    other = suite.model_copy(update={"folds": Folds(number=2, calibration=1, seed=1)})
    with pytest.raises(UsageError, match=r"suite\.folds\.seed was 0, now it is 1"):
        write_protocol(draw_up(other, [root], device="cpu"), out)
    with pytest.raises(UsageError, match=r"suite\.folds was .*, now it is None"):
        write_protocol(draw_up(suite, [root], device="cpu"), out)


def test_a_promise_is_asked_of_every_fold(suite, tiny_brats):
    asked = suite.model_copy(update={"rule": "crc", "alpha": 0.25, "folds": FOLDS})
    with pytest.raises(UsageError, match=r"mine, set: crc .* needs 3 calibration subjects"):
        draw_up(asked, [tiny_brats(FIVE)], device="cpu")


def test_a_copy_in_another_fold_is_a_leak_and_in_the_same_one_is_none(
    suite, tiny_brats, copy_image
):
    root = tiny_brats(FIVE)
    (found,) = in_folds(suite, root)
    first, second = (sorted(subjects_of(fold.judged)) for fold in found.folds)
    together, apart = sorted((first, second), key=len)[1][:2], (first[0], second[0])
    copy_image(root, *apart)
    with pytest.raises(InputError, match=r"^fold-1: What is .* judged share 1 image") as fault:
        require_no_leak(in_folds(suite, root))
    assert fault.value.code == "E_LEAK"
    assert "under one subject's name" in str(fault.value)
    # Both train in the other fold; with calibration, one of them might set the threshold there.
    root = tiny_brats(FIVE, name="other")
    copy_image(root, *together)
    require_no_leak(in_folds(suite, root, folds=Folds(number=2, calibration=0)))


def test_leaks_across_data_sets_are_looked_for_fold_by_fold(suite, tiny_brats):
    one = tiny_brats(FIVE, name="one")
    two = tiny_brats({"train": [*"vwxyz"]}, name="two")
    require_no_leak(in_folds(suite, one, two))
    (folds, others) = (each.folds for each in in_folds(suite, one, two))
    (mine, theirs) = folds[1].judged[0].subject, others[0].judged[0].subject
    content = (one / mine / f"{mine}_flair.nii.gz").read_bytes()
    (two / theirs / f"{theirs}_flair.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match=rf"{mine} \(one\) and {theirs} \(two\)"):
        require_no_leak(in_folds(suite, one, two))


def test_who_is_not_judged_trains_in_the_other_folds(suite, tiny_brats, make_small):
    root = tiny_brats(FIVE)
    make_small(root, "d")
    (found,) = in_folds(suite, root, exclude=Exclude(min_lesion_share=0.01))
    assert subjects_of(found.judged) == set("abce")
    assert [case for case, _ in found.excluded] == ["d"]
    assert any("d" in ids((*fold.train, *fold.calibration)) for fold in found.folds)
    protocol = draw_up(
        suite.model_copy(update={"folds": FOLDS, "exclude": Exclude(min_lesion_share=0.01)}),
        [root],
        device="cpu",
    )
    assert "not of the training in other folds." in " ".join(statements(protocol))


def test_a_fold_with_nobody_to_judge_is_refused(suite, tiny_brats, make_small):
    root = tiny_brats(FIVE)
    (found,) = in_folds(suite, root)
    for case in found.folds[1].judged:
        make_small(root, case.id)
    with pytest.raises(InputError, match=r"every case of fold-2 .*judge nobody. Lower") as fault:
        in_folds(suite, root, exclude=Exclude(min_lesion_share=0.01))
    assert fault.value.code == "E_NO_CASES"


def test_everybody_needs_a_truth_where_everybody_is_judged(suite, tiny_brats):
    root = tiny_brats(FIVE)
    (root / "a" / "a_seg.nii.gz").unlink()
    with pytest.raises(InputError, match=r"1 of 5 cases have no mask .*everybody is judged"):
        in_folds(suite, root)


def test_a_file_is_read_once_however_many_folds_it_serves_in(suite, tiny_brats, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        material, "file_hashes", lambda cases, **_: hashed.extend(cases) or file_hashes(cases)
    )
    in_folds(suite, tiny_brats(FIVE), folds=Folds(number=5, calibration=2))
    assert sorted(case.id for case in hashed) == [*"abcde"]


def test_statements_say_how_many_folds_there_are(suite, tiny_brats):
    folded = suite.model_copy(update={"folds": FOLDS})
    told = " ".join(statements(draw_up(folded, [tiny_brats(FIVE)], device="cpu")))
    assert "5 subjects were judged in 2 folds of 2 to 3, dealt out with seed 0" in told
    assert "1 to 2 of the other subjects trained" in told
    assert "1 set the threshold; none" in told
    assert "Learning curves are those of the first fold" in told
    without = suite.model_copy(update={"folds": Folds(number=2, calibration=0)})
    told = " ".join(statements(draw_up(without, [tiny_brats(FIVE, name="n")], device="cpu")))
    assert "nobody set a threshold, so maps alone are judged" in told


def test_who_does_what_without_a_suite_is_one_fold(tiny_brats):
    parts = parts_of(
        open_dataset(tiny_brats({"train": ["a", "b"], "calibration": ["c"], "test": ["d", "e"]})),
        None,
    )
    (fold,) = parts.folds
    assert (parts.subset, fold.name, ids(parts.judged)) == ("test", "", {"d", "e"})
