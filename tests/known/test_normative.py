"""Places of slices of unlike size and position, and the z-map over them."""

import pytest
import torch
from torch.nn.functional import interpolate

from wholesight.methods.normative import Normative
from wholesight.methods.places import Boxes, PlaceStatistics


def slices_of(n: int, *, seed: int = 0, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Independent standard normal pixels, body everywhere."""
    values = torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))
    return values.double(), torch.ones_like(values, dtype=torch.bool)


def disc(size: int = 48, radius: float = 0.6) -> torch.Tensor:
    axis = torch.linspace(-1, 1, size)
    return (axis[:, None] ** 2 + axis**2 < radius**2)[None, None]


def observed(*batches, **options) -> Normative:
    method = Normative(**options).eval()
    method.observe(batches)
    return method


# ---------------------------------------------------------------- boxes


def test_a_box_is_around_the_body():
    inside = torch.zeros(1, 1, 10, 20, dtype=torch.bool)
    inside[0, 0, 2:6, 5:15] = True
    boxes = Boxes.around(inside, torch.double)
    # Edges, not centres: four pixels cut the box into quarters, of which centres are the middle.
    assert boxes.rows[0, 2:6].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert boxes.columns[0, 5].item() == pytest.approx(0.05)
    assert (boxes.tops.item(), boxes.heights.item()) == (0.2, 0.4)
    assert (boxes.lefts.item(), boxes.widths.item()) == (0.25, 0.5)


def test_without_a_body_the_box_is_the_slice():
    empty = Boxes.around(torch.zeros(1, 1, 6, 8, dtype=torch.bool), torch.float)
    full = Boxes.around(torch.ones(1, 1, 6, 8, dtype=torch.bool), torch.float)
    for one, other in zip(empty, full, strict=True):
        torch.testing.assert_close(one, other)


def test_into_the_frame_and_out_again_is_where_it_was():
    """A plane survives any number of bilinear readings, in the box's interior."""
    inside = torch.zeros(1, 1, 30, 40, dtype=torch.bool)
    inside[0, 0, 4:25, 7:31] = True
    rows, columns = torch.arange(30.0).double()[:, None], torch.arange(40.0).double()
    plane = (3 * rows - 2 * columns)[None, None]
    boxes = Boxes.around(inside, torch.double)
    back = boxes.out_of_frame(boxes.into_frame(plane, 64))
    torch.testing.assert_close(back[..., 5:24, 8:30], plane[..., 5:24, 8:30])


def test_across_the_midline_left_is_right():
    inside = torch.zeros(1, 1, 6, 12, dtype=torch.bool)
    inside[0, 0, 1:5, 3:9] = True
    maps = torch.arange(72.0).reshape(1, 1, 6, 12)
    boxes = Boxes.around(inside, torch.float)
    found = boxes.across(maps, inside)
    torch.testing.assert_close(found[inside], maps[..., 3:9].flip(3)[..., 1:5, :].flatten())
    # A corner without a body across keeps its own value.
    inside[0, 0, 1, 3] = False
    assert boxes.across(maps, inside)[0, 0, 1, 8].item() == pytest.approx(maps[0, 0, 1, 8].item())


def test_asymmetry_counts_on_top_and_symmetric_slices_have_none():
    slices, inside = slices_of(40)
    even = (slices + slices.flip(3)) / 2
    plain, asymmetric = (
        observed((even, inside), asymmetry=share, places=24) for share in (0.0, 0.5)
    )
    one, other = (method.anomaly_map(even, inside) for method in (plain, asymmetric))
    torch.testing.assert_close(one, other)
    lesion = even[:1].clone()
    lesion[..., 6:10, 4:8] += 3.0
    gains = [
        (method.anomaly_map(lesion, inside[:1]) - method.anomaly_map(even[:1], inside[:1]))
        for method in (plain, asymmetric)
    ]
    torch.testing.assert_close(gains[1][..., 6:10, 4:8], 1.5 * gains[0][..., 6:10, 4:8])
    assert (gains[1][..., 6:10, 16:20] < 0).all()


def test_region_means_of_known_quarters():
    inside = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    inside[0, 0, 2:6, 2:6] = True
    inside[0, 0, 4:6, 4:6] = False  # no body: gets the mean of the others
    maps = torch.full((2, 1, 8, 8), 100.0)
    maps[0, 0, 2:4, 2:4], maps[0, 0, 2:4, 4:6], maps[0, 0, 4:6, 2:4] = 1.0, 2.0, 6.0
    means = Boxes.around(inside, maps.dtype).region_means(maps, inside, 2)
    assert means[0, 0].tolist() == [[1, 2], [6, 3]]
    assert means[1, 0].tolist() == [[0, 0], [0, 0]]  # no body at all
    whole = Boxes.around(inside, maps.dtype).region_means(maps, inside, 1)
    assert whole.flatten().tolist() == [3, 0]


# ---------------------------------------------------------------- statistics


def test_statistics_are_those_of_each_pixel_where_frame_and_slice_agree():
    values, inside = slices_of(50, size=16)
    values = values * torch.linspace(1, 3, 16) + torch.linspace(-5, 5, 16)[:, None]
    statistics = PlaceStatistics(places=16)
    statistics.note([(values[:20], inside[:20]), (values[20:], inside[20:])])
    mean, spread = values.mean(0)[0], values.std(0, correction=0)[0]
    torch.testing.assert_close(statistics.mean, mean.float())
    torch.testing.assert_close(statistics.spread, spread.float())


@pytest.mark.slow
@pytest.mark.parametrize("size", [11, 24, 64, 150])
def test_z_of_normals_is_standard_normal_at_any_resolution(size):
    """Of pixels that share nothing: squares of interpolated values would give 1.5 and more."""
    method = observed(slices_of(300, size=size), places=16)
    z = method.anomaly_map(*slices_of(100, seed=1, size=size))
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.05)


def test_a_rare_place_does_not_explode():
    """A corner that three equal slices reach, of forty, is not a million spreads away."""
    values, inside = slices_of(40, size=16)
    inside[:, :, :4, :4] = False
    inside[:, :, 0, 8] = True
    inside[:3, :, :4, :4] = True
    values[:3, :, :4, :4] = 0.5
    method = observed((values, inside), places=16, min_spread_share=0.25)
    z = method.anomaly_map(values[:1] * 0 + 1.5, inside[:1])
    assert z[0, 0, 1, 1].item() == pytest.approx(1 / 0.25, rel=0.1)


def test_a_place_that_no_normal_reached_is_judged_by_all_of_them():
    values, inside = slices_of(40, size=16)
    values += 7
    inside[:, :, 6:10, 6:10] = False
    method = observed((values, inside), places=16)
    z = method.anomaly_map(values[:1] * 0 + 8, torch.ones_like(inside[:1]))
    assert z[0, 0, 8, 8].item() == pytest.approx(1, abs=0.1)


def test_a_place_that_a_quarter_of_a_slice_reached_is_judged_by_all_of_them():
    """A place is four pixels; of one, a single pixel is body in a single slice."""
    values, inside = slices_of(40, size=16)
    values += 7
    inside[:, :, 6:10, 6:10] = False
    inside[0, :, 8, 8] = True
    statistics = PlaceStatistics(places=8)
    statistics.note([(values, inside)])
    found = torch.stack([statistics.mean[4, 4], statistics.spread[4, 4]])
    known = values[inside]
    expected = torch.stack([known.mean(), known.std(correction=0)])
    torch.testing.assert_close(found, expected.float())


def test_what_never_varies_has_no_scale():
    inside = torch.ones(3, 1, 8, 8, dtype=torch.bool)
    method = observed((inside.float() * 4, inside), places=8)
    z = method.anomaly_map(inside[:1] * 6.0, inside[:1])
    torch.testing.assert_close(z, torch.full_like(z, 2.0))


def test_batches_change_nothing():
    values, inside = slices_of(30)
    one = observed((values, inside))
    three = observed((values[:7], inside[:7]), (values[7:8], inside[7:8]), (values[8:], inside[8:]))
    probe = slices_of(2, seed=5)
    torch.testing.assert_close(one.anomaly_map(*probe), three.anomaly_map(*probe))


# ---------------------------------------------------------------- the method


def smooth_normals() -> tuple[torch.Tensor, torch.Tensor]:
    """Discs of many sizes, bright at their left, each of its own brightness."""
    sizes = torch.linspace(0.5, 0.9, 12)
    inside = torch.cat([disc(radius=float(radius)) for radius in sizes])
    columns = Boxes.around(inside, torch.double).columns[:, None, None]
    level = torch.randn(12, 1, 1, 1, generator=torch.Generator().manual_seed(2)).double()
    return (3 - columns + 0.3 * level) * inside, inside


def test_a_slice_moved_and_enlarged_has_its_z_map_moved_and_enlarged():
    normals = smooth_normals()
    method = observed(normals)
    slices = normals[0][2:3] + 0.5 * disc(radius=0.2)
    inside = normals[1][2:3]
    z = method.anomaly_map(slices, inside)

    rolled = [part.roll((5, -3), (2, 3)) for part in (slices, inside)]
    torch.testing.assert_close(method.anomaly_map(*rolled), z.roll((5, -3), (2, 3)))

    large = [
        interpolate(part.double(), scale_factor=2, mode="nearest") for part in (slices, inside)
    ]
    found = method.anomaly_map(large[0], large[1].bool())
    expected = interpolate(z, scale_factor=2, mode="nearest")
    # A pixel's quarters lie half a pixel apart, and the normal mean falls across them.
    within = interpolate(disc(radius=0.4).double(), scale_factor=2, mode="nearest").bool()
    assert (found - expected)[within].abs().max() < 0.1
    assert expected[within].max() > 1


def test_z_has_the_sign_of_the_difference_and_both_sides_count_if_asked():
    normals = smooth_normals()
    centre = disc(radius=0.2)
    slices, inside = normals[0][5:6], normals[1][5:6]
    for side, dark_is_odd in (("bright", False), ("both", True)):
        method = observed(normals, side=side)
        bright = method.anomaly_map(slices + 2 * centre, inside)
        dark = method.anomaly_map(slices - 2 * centre, inside)
        assert bright[centre].min() > 2
        assert (dark[centre].min() > 2) == dark_is_odd
        assert bright[~inside].abs().max() == 0


def test_smoothed_normals_are_standard_normal_too():
    method = observed(slices_of(300), sigma_px=2.0, places=24)
    slices, inside = slices_of(100, seed=1)
    z = method.anomaly_map(slices, inside)
    assert z.std().item() == pytest.approx(1, abs=0.05)
    # Neighbours agree now, so it was smoothed.
    assert (z[..., 1:] - z[..., :-1]).std() < 0.5


def test_what_was_noted_comes_back():
    method = observed(slices_of(20), places=20)
    again = Normative(places=20).eval()
    again.load_state_dict(method.state_dict())
    probe = slices_of(2, seed=3)
    assert torch.equal(again.anomaly_map(*probe), method.anomaly_map(*probe))
    assert not method.trainable


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"sigma_px": -1.0}, "sigma_px is -1.0, legal is 0 or more"),
        ({"places": 1}, "places is 1, legal is 2 to 2048"),
        ({"min_spread_share": 0.0}, "min_spread_share is 0.0, legal is 0 < share <= 1"),
    ],
)
def test_bad_options_are_refused(option, text):
    with pytest.raises(ValueError, match=text):
        Normative(**option)
