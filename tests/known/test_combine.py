"""Surprisal on normals, and methods made of methods."""

import math

import pytest
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wholesight.errors import RecipeError
from wholesight.methods.combine import Average, Gate, Standardised
from wholesight.methods.intensity import SmoothedIntensity
from wholesight.methods.method import LossTerms, Method
from wholesight.methods.normative import Normative
from wholesight.methods.surprisal import Surprisal
from wholesight.recipe import Recipe


class Biased(Method):
    """The slice, plus what lies in a corner of it anyway, in whatever unit."""

    reference = "made up"

    def __init__(self, *, bias: Tensor | float = 0.0, unit: float = 1.0) -> None:
        super().__init__()
        self.bias = bias
        self.unit = unit

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        raise AssertionError("there is nothing to train")

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return self.unit * (slices + self.bias)


class Learnt(Method):
    """Learns the mean intensity; its map is how far a slice is above."""

    reference = "made up"

    def __init__(self, *, shape: tuple[int, int, int] | None = None, start: float = 0.0) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        self.shape = shape
        self.start = start

    @property
    def slice_shape(self) -> tuple[int, int, int] | None:
        return self.shape

    @property
    def unit_range(self) -> bool:
        return True

    @property
    def last_start(self) -> float:
        return self.start

    def loss(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"], epoch: float
    ) -> LossTerms:
        square = (slices.mean() - self.mean).square()
        return LossTerms(square, {"square": square}, {"square": square})

    def anomaly_map(
        self, slices: Float[Tensor, "b c H W"], inside: Bool[Tensor, "b 1 H W"]
    ) -> Float[Tensor, "b 1 H W"]:
        return (slices - self.mean).detach()


def normals(n: int = 24, *, seed: int = 0, size: int = 16) -> tuple[Tensor, Tensor]:
    values = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))
    inside = torch.ones_like(values, dtype=torch.bool)
    inside[..., :2] = False
    return values.double() * inside, inside


def observed(method: Method) -> Method:
    values, inside = normals()
    method.eval().observe([(values[:10], inside[:10]), (values[10:], inside[10:])])
    return method


EVERY_COMBINATION = pytest.mark.parametrize(
    "make",
    [
        lambda *, part: Standardised(method=part),
        lambda *, part: Gate(map=part, gate=Biased(), regions=2),
        lambda *, part: Average(methods=[part, Biased()]),
    ],
    ids=["standardised", "gate", "average"],
)

# ---------------------------------------------------------------- surprisal


def noted(values: Tensor, *, chunks: int = 1) -> Surprisal:
    surprisal = Surprisal()
    surprisal.note(values.chunk(chunks), len(values))
    return surprisal


def test_surprisal_of_uniform_normals_is_minus_log_of_what_is_left():
    surprisal = noted(torch.rand(200_000, generator=torch.Generator().manual_seed(0)))
    x = torch.tensor([0.0, 0.25, 0.5, 0.9, 0.99])
    torch.testing.assert_close(surprisal(x), -torch.log1p(-x), rtol=0.02, atol=0.005)
    torch.testing.assert_close(surprisal.share_below(x), x, rtol=0, atol=0.005)


def test_surprisal_of_fresh_normals_is_exponential_with_mean_1():
    generator = torch.Generator().manual_seed(1)
    for draw in (torch.rand, torch.randn):
        surprisal = noted(100 - 3 * draw(100_000, generator=generator))
        found = surprisal(100 - 3 * draw(100_000, generator=generator))
        assert found.mean().item() == pytest.approx(1, abs=0.02)
        assert found.std().item() == pytest.approx(1, abs=0.03)


def test_surprisal_never_falls_and_rises_beyond_every_normal():
    surprisal = noted(torch.randn(5000, generator=torch.Generator().manual_seed(2)))
    x = torch.linspace(-10, 100, 20_000)
    found = surprisal(x)
    assert torch.isfinite(found).all()
    assert (found.diff() >= 0).all()
    assert (found[x > -3].diff() > 0).all()
    assert (found >= 0).all()
    # The largest of n has a share 1/n at or above it.
    assert surprisal(surprisal.knots[-1:]).item() == pytest.approx(math.log(5000), rel=1e-4)


def test_the_tail_of_exponential_normals_goes_on_straight():
    uniform = torch.rand(500_000, generator=torch.Generator().manual_seed(3))
    surprisal = noted(-torch.log1p(-uniform.double()))
    x = torch.tensor([3.0, 8.0, 30.0])
    torch.testing.assert_close(surprisal(x), x, rtol=0.25, atol=0.05)


def test_values_that_many_normals_share():
    """Half of the normals are 0, as of a residual that counts one side: F(0) is 1/2, not 0."""
    surprisal = noted(torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]).repeat(200))
    found = surprisal(torch.tensor([-0.1, 0.0, 1.0, 2.0, 3.0]))
    assert found[0] == 0
    assert found[1].item() == pytest.approx(math.log(2), abs=0.05)
    assert found[2].item() == pytest.approx(math.log(4), abs=0.05)
    assert found[4] > found[3] > found[2]


def test_normals_that_are_all_alike():
    found = noted(torch.full((50,), 7.0))(torch.tensor([6.0, 7.0, 8.0, 10.0]))
    assert torch.isfinite(found).all()
    assert found[0] == 0
    assert found[3] > found[2] > found[1]


def test_memory_is_bounded_and_chunks_change_nothing(monkeypatch):
    monkeypatch.setattr("wholesight.methods.surprisal._SAMPLE", 1000)
    values = torch.randn(9_777, generator=torch.Generator().manual_seed(4))
    one, many = noted(values), noted(values, chunks=13)
    assert torch.equal(one.knots, many.knots)
    kept = values[::10].double().sort().values
    assert one.levels[-1].item() == pytest.approx(math.log(len(kept)), rel=1e-6)
    assert one.knots[-1] == kept[-1].float()


def test_without_a_normal_value_nothing_changes():
    surprisal = Surprisal()
    surprisal.note([], 0)
    x = torch.tensor([-1.0, 0.5, 20.0])
    torch.testing.assert_close(surprisal(x), x.clamp_min(0))


# ---------------------------------------------------------------- standardised


def test_standardising_takes_off_what_depends_on_the_place_alone():
    # By row: the body fills all of them, so that rows and places are the same.
    bias = torch.linspace(-30, 30, 16).double().sin()[:, None] * 30
    biased = observed(Standardised(method=Biased(bias=bias, unit=5.0), places=16))
    plain = observed(Standardised(method=Biased(), places=16))
    slices, inside = normals(3, seed=9)
    found = biased.anomaly_map(slices, inside)
    assert (found[~inside] == 0).all()
    torch.testing.assert_close(found, plain.anomaly_map(slices, inside), rtol=1e-4, atol=1e-4)


def test_standardised_intensity_is_the_normative_z_map():
    found = observed(Standardised(method=SmoothedIntensity(sigma_px=1.0)))
    expected = observed(Normative(sigma_px=1.0))
    probe = normals(3, seed=9)
    torch.testing.assert_close(found.anomaly_map(*probe), expected.anomaly_map(*probe))


# ---------------------------------------------------------------- average


def test_an_average_of_one_ranks_as_that_one():
    method = observed(Average(methods=[Biased(unit=3.0)]))
    slices, inside = normals(2, seed=9)
    slices = slices + 0.3  # some beyond every normal
    found = method.anomaly_map(slices, inside)
    # Below the smallest normal value nothing is odd.
    order = slices[inside].argsort()
    ranked = found[inside][order]
    assert (ranked.diff() > 0).all()
    assert (found[~inside] == 0).all()


def test_units_do_not_matter_in_an_average():
    probe = normals(2, seed=9)
    small = observed(Average(methods=[Biased(), Biased(unit=1e-3)])).anomaly_map(*probe)
    large = observed(Average(methods=[Biased(), Biased(unit=1e3, bias=-7.0)])).anomaly_map(*probe)
    alone = observed(Average(methods=[Biased()])).anomaly_map(*probe)
    torch.testing.assert_close(small, large, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(small, alone, rtol=1e-3, atol=1e-3)


def test_an_average_is_fishers_statistic_halved():
    """Of two tests with p-values 0.1 and 0.01: -2 (log 0.1 + log 0.01) / 4."""
    method = observed(Average(methods=[Biased(), Biased(bias=-0.09)]))
    inside = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    found = method.anomaly_map(torch.full((1, 1, 16, 16), 0.9).double(), inside)
    expected = -math.log(0.1)  # both maps move with the slice, so both p-values are 0.1
    assert found.mean().item() == pytest.approx(expected, rel=0.05)
    method.surprisals[1].knots += 0.09 - 0.18  # as though the second's normals lay lower
    found = method.anomaly_map(torch.full((1, 1, 16, 16), 0.9).double(), inside)
    assert found.mean().item() == pytest.approx(-(math.log(0.1) + math.log(0.01)) / 2, rel=0.1)


# ---------------------------------------------------------------- gate


def test_the_gate_tells_normal_slices_from_odd_ones():
    """The same pixel counts for more in a slice, or region, that is odd as a whole."""
    method = observed(Gate(map=Biased(), gate=Biased(), regions=1))
    slices, inside = normals(4, seed=9)
    odd = slices + 0.2 * inside
    slices[..., 8, 8] = odd[..., 8, 8] = 0.95
    normal_map, odd_map = method.anomaly_map(slices, inside), method.anomaly_map(odd, inside)
    assert (odd_map[..., 8, 8] > normal_map[..., 8, 8]).all()
    # Beyond every normal slice the gate is open.
    plain = method.surprisal(odd)
    torch.testing.assert_close(odd_map[inside], plain[inside], rtol=0.01, atol=0.01)
    assert (odd_map[~inside] == 0).all()


def test_the_gate_is_about_one_half_on_normal_slices():
    method = observed(Gate(map=Biased(), gate=Biased(), regions=2))
    slices, inside = normals(24)
    ratio = method.anomaly_map(slices, inside) / method.surprisal(slices)
    assert ratio[inside & (slices > 0.1)].mean().item() == pytest.approx(0.5, abs=0.05)


def test_an_odd_region_opens_the_gate_there_and_the_edge_does_not_show():
    method = observed(Gate(map=Biased(), gate=Biased(), regions=2))
    slices, inside = normals(1, seed=9, size=32)
    slices = torch.full_like(slices, 0.35) * inside
    slices[..., 16:] += 0.4
    found = method.anomaly_map(slices, inside) / method.surprisal(slices)
    across = found[0, 0, 16, 2:]
    assert across[0] < 0.1
    assert across[-1] > 0.95
    assert (across.diff() >= 0).all()
    assert across.diff().max() < 0.12


# ---------------------------------------------------------------- every combination


@EVERY_COMBINATION
def test_what_was_noted_comes_back(make):
    method = observed(make(part=Learnt()))
    again = make(part=Learnt()).eval()
    again.load_state_dict(method.state_dict())
    probe = normals(3, seed=9)
    assert torch.equal(again.anomaly_map(*probe), method.anomaly_map(*probe))


@EVERY_COMBINATION
def test_parts_are_observed_first(make):
    """The statistics are those of what the part's map is once it has seen the normals itself."""
    method = observed(make(part=Normative(places=16)))
    part = next(iter(method.parts.values()))
    assert not torch.equal(part.normal.mean, torch.zeros(16, 16))
    probe = normals(3, seed=9)
    found = method.anomaly_map(*probe)
    method.observe([normals()])
    torch.testing.assert_close(method.anomaly_map(*probe), found)


@EVERY_COMBINATION
def test_only_what_trains_has_a_loss(make):
    slices, inside = normals(4)
    own = Learnt().loss(slices, inside, 0.0)
    terms = make(part=Learnt()).loss(slices, inside, 0.0)
    torch.testing.assert_close(terms.total, own.total)
    assert [name.partition("_")[0] for name in terms.parts] == ["square"]
    assert terms.rivals.keys() == terms.parts.keys()
    idle = make(part=Biased())
    assert not idle.trainable
    assert idle.loss(slices, inside, 0.0) == LossTerms(torch.zeros(()), {})


@EVERY_COMBINATION
def test_what_a_part_asks_for_is_asked_for(make):
    method = make(part=Learnt(shape=(1, 16, 16), start=3.0))
    assert method.slice_shape == (1, 16, 16)
    assert method.last_start == 3
    assert method.unit_range
    other = make(part=Biased())
    assert (other.slice_shape, other.last_start, other.unit_range) == (None, 0, False)


def test_two_that_train_do_so_as_if_alone():
    """Disjoint parameters: the sum's gradient is each one's own. Rivals are each part's own."""
    slices, inside = normals(4)
    method = Average(methods=[Learnt(), Learnt()])
    terms = method.loss(slices, inside, 0.0)
    assert sorted(terms.parts) == ["square_1", "square_2"]
    assert sorted(terms.rivals) == ["square_1", "square_2"]
    terms.total.backward()
    alone = Learnt()
    alone.loss(slices, inside, 0.0).total.backward()
    for part in method.parts.values():
        torch.testing.assert_close(part.mean.grad, alone.mean.grad)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Average(methods=[]), "methods is empty, legal are one or more"),
        (lambda: Gate(map=Biased(), gate=Biased(), regions=0), "regions is 0, legal is 1 or more"),
        (lambda: Standardised(method=Biased(), places=0), "places is 0, legal is 2 to 2048"),
        (
            lambda: Average(methods=[Learnt(shape=(1, 8, 8)), Learnt(shape=(1, 16, 16))]),
            r"the parts take slices of .*, legal is one shape for all",
        ),
    ],
)
def test_bad_options_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


# ---------------------------------------------------------------- recipes that nest


def test_the_resolved_recipe_holds_every_part():
    """Nothing of another file is needed to load what was saved."""
    average, quick, normative = (Recipe.load(name) for name in ("average", "quick", "normative"))
    parts = average.resolved["method"]["methods"]
    assert parts == [quick.resolved["method"], normative.resolved["method"]]
    gated = Recipe.load("gated").resolved["method"]
    assert (gated["map"], gated["gate"]) == (parts[1], parts[0])
    assert Recipe.load("standardised").resolved["method"]["method"] == parts[0]


def test_a_part_can_be_set_like_any_option():
    recipe = Recipe.load("average", ["method.methods.0={kind: intensity, sigma_px: 1.0}"])
    assert recipe.method.slice_shape is None
    assert not recipe.method.trainable


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["prep.intensity.top=2.0"], r"method\.methods\.0\.recipe: 'quick' prepares slices other"),
        (["method.methods.1.recipe=normativ"], "'normativ' is no shipped recipe"),
        (["method.methods.0.epochs=3"], r"method\.methods\.0: epochs beside 'recipe'"),
        (["method.methods=[]"], "method: methods is empty, legal are one or more"),
        (["method.methods.1={kind: gate, map: quick}"], r"methods\.1\.map\.kind: 'quick'"),
    ],
)
def test_what_cannot_be_nested_is_refused(overrides, text):
    with pytest.raises(RecipeError, match=text):
        Recipe.load("average", overrides)
