"""Names of BIDS, held against the official schema."""

import pytest
from bidsschematools.schema import load_schema

from wholesight.io.bids_name import ENTITIES, IMAGES, BidsName, parse
from wholesight.io.outputs import derivative


@pytest.fixture(scope="module")
def schema():
    return load_schema()


def test_the_entities_and_their_order_are_those_of_the_schema(schema):
    names = schema.objects.entities
    assert [names[entity].name for entity in schema.rules.entities] == list(ENTITIES)


@pytest.mark.parametrize(
    ("rule", "raw"), [("nonparametric", "nonparametric"), ("parametric", "parametric")]
)
def test_images_have_the_suffixes_and_entities_of_the_schema(schema, rule, raw):
    names = schema.objects.entities
    prepared = schema.rules.files.deriv.imaging[f"anat_{rule}_volumetric"]
    of_raw = schema.rules.files.raw.anat[raw]
    legal = {names[entity].name for entity in prepared.entities}
    assert legal >= {names[entity].name for entity in of_raw.entities}
    for suffix in of_raw.suffixes:
        assert IMAGES[suffix] == legal
    both = [*schema.rules.files.raw.anat.nonparametric.suffixes,
            *schema.rules.files.raw.anat.parametric.suffixes]  # fmt: skip
    assert sorted(both) == sorted(IMAGES)


def test_numbers_are_numbers(schema):
    for entity in schema.objects.entities.values():
        number = entity.format == "index"
        name = f"sub-1_{entity.name}-x_T1w" if entity.name != "sub" else "sub-x_T1w"
        assert (parse(name) is None) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "T1w",
        "sub-01",
        "sub-_T1w",
        "sub_T1w",
        "sub-01_T1w_",
        "sub-0 1_T1w",
        "sub-01_sub-01_T1w",
        "ses-1_sub-01_T1w",
        "sub-01_run-2_acq-a_T1w",
        "sub-01_rum-2_T1w",
        "sub-01_run-1_run-2_T1w",
        "sub-01_T1-w",
        "tpl-a_T1w",
    ],
)
def test_what_is_no_name(text):
    assert parse(text) is None


def test_a_name_comes_back_as_it_was():
    text = (
        "sub-01_ses-a_task-rest_acq-x_ce-y_rec-z_run-03_echo-1_part-mag_space-b_chunk-2_desc-c_T1w"
    )
    found = parse(text)
    assert isinstance(found, BidsName)
    assert found.text == text
    assert found.folder == "sub-01/ses-a/anat"
    assert found.is_image


@pytest.mark.parametrize("suffix", IMAGES)
@pytest.mark.parametrize("unit", [True, False])
def test_what_is_written_for_any_image_has_a_legal_name(is_bids, suffix, unit):
    """With no entity, with each alone, and with all of them."""
    values = dict.fromkeys(("run", "echo", "chunk"), "1") | {"part": "mag"}
    legal = [entity for entity in ENTITIES if entity in IMAGES[suffix] and entity != "sub"]
    for entities in ([], *([entity] for entity in legal), legal):
        pairs = ["sub-01", *(f"{name}-{values.get(name, 'x')}" for name in entities)]
        for path in derivative("_".join([*pairs, suffix]), unit=unit).all:
            assert is_bids(path), path
    assert not is_bids(derivative(f"sub-01_{suffix}", unit=unit).mask.replace("space", "spice"))


def test_every_image_has_outputs_of_its_own():
    images = ["sub-1_T1w", "sub-1_desc-a_T1w", "sub-1_space-b_T1w", "sub-1_space-b_desc-a_T1w"]
    for unit in (True, False):
        names = [name for image in images for name in derivative(image, unit=unit).all]
        assert len(set(names)) == len(names) == 16


def test_no_output_for_what_is_no_image():
    for text in ("case7_flair", "sub-01_label-lesion_mask", "sub-01_label-a_T1w", "sub-01_MP2RAGE"):
        with pytest.raises(ValueError, match="not the name of an image"):
            derivative(text, unit=False)
