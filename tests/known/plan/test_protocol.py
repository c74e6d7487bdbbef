"""What is decided before anything is trained: who serves for what, and that nobody serves twice."""

import fcntl
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from wholesight.benchmark.cells.cell import cells_of
from wholesight.benchmark.cells.run import run_benchmark
from wholesight.benchmark.plan.folds import dealt
from wholesight.benchmark.plan.leakage import require_no_leak
from wholesight.benchmark.plan.material import gather
from wholesight.benchmark.plan.own_data import own_data
from wholesight.benchmark.plan.place import require_room
from wholesight.benchmark.plan.protocol import draw_up, write_protocol
from wholesight.benchmark.plan.suite import Exclude, Split, Stress, load_suite
from wholesight.datasets import Case, open_dataset
from wholesight.errors import InputError, OutputError, UsageError
from wholesight.io import nifti
from wholesight.volume import Volume

SPLITS = {"train": ["a", "b"], "calibration": ["c"], "test": ["d", "e"]}


def gathered(suite, *roots, subset: str | None = "test"):
    return gather(list(roots), suite.model_copy(update={"subset": subset}))


def test_every_subject_is_where_the_split_says(suite, tiny_brats):
    (found,) = gathered(suite, tiny_brats(SPLITS))
    (fold,) = found.folds
    assert {case.subject for case in fold.train} == {"a", "b"}
    assert {case.subject for case in fold.calibration} == {"c"}
    assert {case.subject for case in found.judged} == {"d", "e"}
    assert set(found.files["judged"]) == {"d", "e"}
    require_no_leak([found])


def test_test_is_judged_where_there_is_one_and_else_validation(suite, tiny_brats):
    parts = {"train": ["a"], "calibration": ["b"], "validation": ["c"]}
    (without,) = gathered(suite, tiny_brats(parts, name="without"), subset=None)
    (both,) = gathered(suite, tiny_brats({**parts, "test": ["d"]}, name="both"), subset=None)
    assert (without.subset, both.subset) == ("validation", "test")
    assert [case.subject for case in (*without.judged, *both.judged)] == ["c", "d"]


def test_a_promise_that_cannot_be_kept_is_refused_before_training(suite, tiny_brats):
    root = tiny_brats(SPLITS)
    asked = suite.model_copy(update={"rule": "crc", "alpha": 0.25})
    with pytest.raises(UsageError, match=r"mine, set: crc .* needs 3 calibration subjects"):
        draw_up(asked, [root], device="cpu")
    draw_up(asked.model_copy(update={"alpha": 0.5}), [root], device="cpu")


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("a", "d", "What is trained on and what is judged"),
        ("c", "d", "What is used to set the threshold and what is judged"),
        ("b", "c", "What is trained on and what is used to set the threshold"),
    ],
)
def test_one_image_under_two_names_is_refused(suite, tiny_brats, one, other, told, copy_image):
    root = tiny_brats(SPLITS)
    copy_image(root, one, other)
    with pytest.raises(InputError, match=told) as fault:
        require_no_leak(gathered(suite, root))
    assert fault.value.code == "E_LEAK"
    for name in (f"{one} (set)", f"{other} (set)", "same content", "Take one of each pair out"):
        assert name in str(fault.value)


def test_a_copy_that_is_compressed_anew_is_the_same_image(suite, tiny_brats):
    root = tiny_brats(SPLITS)
    image = nifti.read(root / "a" / "a_flair.nii.gz")
    (root / "d" / "d_flair.nii.gz").unlink()
    nifti.write(image, root / "d" / "d_flair.nii")
    with pytest.raises(InputError, match="a \\(set\\) and d \\(set\\), subjects a and d") as fault:
        require_no_leak(gathered(suite, root))
    assert fault.value.code == "E_LEAK"


def test_images_that_are_alike_within_a_part_are_nobodys_leak(suite, tiny_brats, copy_image):
    root = tiny_brats(SPLITS)
    copy_image(root, "a", "b")
    copy_image(root, "d", "e")
    require_no_leak(gathered(suite, root))


def test_a_subject_in_two_parts_is_refused(suite, tiny_brats):
    """Opening refuses it too; here the layout has let it through."""
    (found,) = gathered(suite, tiny_brats(SPLITS))
    files = {**found.files, "judged": {"a": {"a2/voxels": "another scan"}}}
    again = found.folds[0]._replace(judged=found.folds[0].train[:1])
    with pytest.raises(InputError, match=r"share 1 subject: a \(a \(set\), a2 \(set\)\)") as fault:
        require_no_leak([replace(found, folds=(again,), files=files)])
    assert fault.value.code == "E_LEAK"


def test_leaks_are_found_across_data_sets(suite, tiny_brats):
    one = tiny_brats(SPLITS, name="one")
    two = tiny_brats({"train": ["x"], "calibration": ["y"], "test": ["z"]}, name="two")
    require_no_leak(gathered(suite, one, two))
    (two / "z" / "z_flair.nii.gz").write_bytes((one / "a" / "a_flair.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"a \(one\) and z \(two\), subjects a and z"):
        require_no_leak(gathered(suite, one, two))
    three = tiny_brats({"train": ["d"], "test": ["q"]}, name="three")
    path = three / "d" / "d_flair.nii.gz"
    image = nifti.read(path)
    nifti.write(image.like(image.voxels + 1), path)
    with pytest.raises(InputError, match=r"share 1 subject: d .*different names"):
        require_no_leak(gathered(suite, one, three))


def test_two_data_sets_of_one_name_are_told_apart(suite, tiny_brats):
    one = tiny_brats(SPLITS, name="one/set")
    two = tiny_brats({"train": ["x"], "test": ["z"]}, name="two/set")
    assert [each.name for each in gathered(suite, one, two)] == ["set", "set-2"]


def test_a_data_set_given_twice_is_refused(suite, tiny_brats, tmp_path):
    root = tiny_brats(SPLITS)
    (tmp_path / "other-name").symlink_to(root)
    with pytest.raises(UsageError, match=r"other-name: this data set is given twice"):
        gathered(suite, root, tmp_path / "other-name")


def test_what_lesions_were_made_to_be_is_found_beside_a_manifest_too(suite, tiny_brats):
    root = tiny_brats(SPLITS)
    rows = [f"{s}\t{s}\t{s}/{s}_flair.nii.gz\t{s}/{s}_seg.nii.gz" for s in "abcde"]
    parts = dict(zip("abcde", ("train", "train", "calibration", "test", "test"), strict=True))
    lines = [f"{row}\t{parts[row[0]]}" for row in rows]
    (root / "cases.tsv").write_text("\n".join(["case\tsubject\timage\tmask\tsplit", *lines]))
    (root / "split.json").unlink()
    record = {"cases": {"d": {"volume_ml": 4.0, "contrast": -0.5}}}
    (root / "phantom.json").write_text(json.dumps(record))
    (found,) = gathered(suite, root / "cases.tsv")
    assert found.design == record["cases"]
    (root / "phantom.json").write_text('{"cases": []}')
    assert gathered(suite, root)[0].design is None


def test_a_split_of_ones_own_deals_every_subject_once(tiny_brats):
    names = [f"s{number:02d}" for number in range(12)]
    found = open_dataset(tiny_brats({"test": names}))
    split = Split(train=6, calibration=2, test=3, seed=0)
    once = dealt(found, split)
    parts = {
        part: {c.subject for c in once.subset(part)} for part in ("train", "calibration", "test")
    }
    assert {part: len(subjects) for part, subjects in parts.items()} == {
        "train": 6,
        "calibration": 2,
        "test": 3,
    }
    assert len(set.union(*parts.values())) == 11
    assert dealt(found, split) == once
    assert dealt(found, Split(train=6, calibration=2, test=3, seed=1)) != once


def test_too_few_subjects_for_the_split(tiny_brats):
    found = open_dataset(tiny_brats(SPLITS))
    with pytest.raises(InputError, match=r"5 subjects, .*needs 335 \(271 for train.*Get them\."):
        dealt(found, Split(train=271, calibration=32, test=32), needs="Get them.")


@pytest.mark.parametrize("turn", [np.diag([-1.0, -1, 4, 1]), np.roll(np.eye(4)[:3], 1, 0)])
def test_slices_of_the_study_keep_their_place(tmp_path, turn):
    affine = np.eye(4)
    affine[:3] = turn[:3]
    affine[:3, 3] = 5, 6, 7
    image = Volume(np.random.default_rng(0).random((7, 8, 9), np.float32), affine)
    nifti.write(image, tmp_path / "x.nii.gz")
    nifti.write(image.like(image.voxels > 0.5), tmp_path / "y.nii.gz")
    case = Case("x", "x", tmp_path / "x.nii.gz", tmp_path / "y.nii.gz", slices=(2, 4))
    scan = case.read()
    axis = int(np.flatnonzero(affine[2, :3])[0])
    here = np.take(image.voxels, [2, 3, 4], axis)
    np.testing.assert_array_equal(scan.image.voxels, here)
    np.testing.assert_array_equal(scan.abnormal.voxels, here > 0.5)
    step = np.eye(3)[axis] * 2
    np.testing.assert_allclose(scan.image.affine[:3, 3], affine[:3, :3] @ step + affine[:3, 3])
    assert scan.image.same_grid(scan.abnormal)


def test_too_few_slices_are_told_before_anything_runs(suite, tiny_brats):
    with pytest.raises(InputError, match="has 6 axial slices, and 3 to 6") as fault:
        gathered(suite.model_copy(update={"slices": [3, 6]}), tiny_brats(SPLITS))
    assert fault.value.code == "E_SLICES"


def test_small_lesions_are_left_out_and_listed(suite, tiny_brats, make_small):
    root = tiny_brats(SPLITS)
    make_small(root, "d")
    least = suite.model_copy(update={"exclude": Exclude(min_lesion_share=0.01)})
    (found,) = gathered(least, root)
    assert [case.id for case in found.judged] == ["e"]
    ((name, reason),) = found.excluded
    assert name == "d"
    assert "of the body" in reason
    assert found.to_json()["excluded"] == [["d", reason]]
    assert set(found.files["judged"]) == {"e"}


def test_seeds_come_one_after_the_other_and_floors_once(suite, tiny_brats, tmp_path):
    suite = suite.model_copy(
        update={"seeds": 3, "methods": load_suite("claim").methods, "reference": "quick"}
    )
    protocol = draw_up(suite, [tiny_brats(SPLITS)])
    cells = cells_of(protocol, tmp_path)
    assert [cell.name.removeprefix("set.") for cell in cells] == [
        *("quick.seed-0", "vae.seed-0", "floor.seed-0"),
        *("quick.seed-1", "vae.seed-1", "quick.seed-2", "vae.seed-2"),
    ]


def test_the_protocol_says_it_all_and_holds(suite, tiny_brats, tmp_path, copy_image):
    root, out = tiny_brats(SPLITS), tmp_path / "out"
    out.mkdir()
    protocol = draw_up(suite, [root], device="cpu")
    write_protocol(protocol, out)
    told = json.loads((out / "protocol.json").read_text())
    assert told["data"]["set"]["subjects"] == {
        "train": ["a", "b"],
        "calibration": ["c"],
        "judged": ["d", "e"],
    }
    assert len(told["data"]["set"]["files"]["judged"]["d"]["d/image"]) == 64
    assert told["methods"]["floor"]["resolved"]["method"]["sigma_px"] == 4.0
    assert told["suite"]["alpha"] == 0.05
    assert told["statistics"]["resamples"] == 2000
    assert told["threads_per_cell"] == 1
    assert told["device"] == "cpu"
    assert told["versions"]["wholesight"]
    assert str(tmp_path) not in json.dumps(told)
    (out / "protocol.json").write_text(json.dumps({**told, "begun": {"at": "another day"}}))
    write_protocol(protocol, out)
    with pytest.raises(UsageError, match=r"suite\.alpha was 0\.05, now it is 0\.1"):
        write_protocol(replace(protocol, suite=suite.model_copy(update={"alpha": 0.1})), out)
    with pytest.raises(UsageError, match="device was cpu, now it is cuda"):
        write_protocol(replace(protocol, device="cuda"), out)
    copy_image(root, "d", "e")
    changed = draw_up(suite, [root], device="cpu")
    with pytest.raises(UsageError, match=r"data\.set\.files\.judged\.e\.e/image was"):
        write_protocol(changed, out)


def test_a_folder_is_used_on_purpose_only(tmp_path):
    again = ["  wholesight benchmark claim --resume"]
    require_room(tmp_path / "new", resume=False, again=again)
    require_room(tmp_path / "new", resume=True, again=again)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "protocol.json").write_text("{}")
    with pytest.raises(UsageError, match="go on with what is missing there:\n  wholesight benchm"):
        require_room(tmp_path / "run", resume=False, again=again)
    require_room(tmp_path / "run", resume=True, again=again)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    for resume in (False, True):
        with pytest.raises(UsageError, match="no benchmark of ours"):
            require_room(tmp_path / "thesis", resume=resume, again=again)


def test_what_a_desktop_leaves_in_a_folder_is_no_obstacle(tmp_path):
    (tmp_path / ".DS_Store").write_text("")
    require_room(tmp_path, resume=False, again=[])


def test_a_folder_that_cannot_be_written_is_told_before_the_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(OutputError, match="is read-only or not yours"):
        require_room(tmp_path / "not" / "there", resume=False, again=[])


@pytest.mark.slow
def test_own_data_are_used_again_only_as_they_were_asked_for(tmp_path):
    asked = Stress(kind="phantom-stress", normal=1, volumes_ml=[16], contrasts=[0.5], repeats=1)
    folder = own_data("mine", asked, tmp_path)
    made = (folder / "phantom.json").stat().st_ctime_ns
    assert own_data("mine", asked, tmp_path) == folder
    assert (folder / "phantom.json").stat().st_ctime_ns == made
    other = asked.model_copy(update={"volumes_ml": [8.0]})
    with pytest.raises(
        UsageError, match=r"made for another suite: volumes_ml.*was 16.*is 8.*Remove"
    ):
        own_data("mine", other, tmp_path)


def test_two_runs_in_one_folder_are_refused(suite, tiny_brats, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    protocol = draw_up(suite, [tiny_brats(SPLITS)])
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="another benchmark is running in this folder"):
        run_benchmark(protocol, out, jobs=1)
    os.close(other)
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_the_published_split_of_335_subjects(tiny_brats):
    published = load_suite("protocol-bmvc2021")
    names = [f"BraTS19_{number:03d}" for number in range(335)]
    root = tiny_brats({"test": names})
    # The made-up files have six slices.
    (found,) = gathered(published.model_copy(update={"slices": [2, 4]}), root)
    subjects = found.to_json()["subjects"]
    assert {part: len(names) for part, names in subjects.items()} == {
        "train": 271,
        "calibration": 32,
        "judged": 32,
    }
    assert len(set().union(*subjects.values())) == 335
    every = [case for cases in found.folds[0].parts.values() for case in cases]
    assert {case.slices for case in every} == {(2, 4)}
    assert found.judged[0].read().image.shape == (10, 12, 3)
