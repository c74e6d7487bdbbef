"""A trained detector: prep, method, threshold and cleanup.

Axes: i j k file voxels; n slices, H W slice pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch

from wholesight.calibration.choose import SCREENING, threshold_of
from wholesight.calibration.normals import Normals, NormalScan, summarise
from wholesight.calibration.sites import threshold_of_each_site
from wholesight.calibration.terms import Terms
from wholesight.calibration.threshold import Threshold
from wholesight.calibration.typical import Likeness, Typical, likeness
from wholesight.detector import folder as folders
from wholesight.errors import ModelError, UsageError, nearest
from wholesight.io.content import VOXELS
from wholesight.prep.appearance import FEATURES, appearance
from wholesight.prep.chain import Prepared
from wholesight.recipe import Recipe
from wholesight.scan_score import scan_score
from wholesight.volume import NO_CHANNELS, Scan, Volume

# Slices that go through the network together: bounds the memory, changes no result.
BATCH: Final = 16


class Segmentation(NamedTuple):
    """What a detector says of one scan; the volumes are on the scan's grid.

    map : float32, higher = odder, 0 outside the body. mask : bool. body : bool.
    score : of the whole scan, higher = odder; None where maps of two scans cannot be compared.
    likeness : to the training scans; unknown where they were not described.
    """

    map: Volume
    mask: Volume
    body: Volume
    score: float | None
    likeness: Likeness = Likeness("unknown")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Segments what is abnormal in a scan.

    recipe : its parts. threshold : None until calibrated, and where there is one a site. by_site :
    {site: threshold} where it is calibrated by site, else empty. normals : the normal scans that
    the thresholds are worked out from, in summary. record : how it was trained, plain data.
    calibrated_on : the files of the normal scans, {subject: {"case/role": sha256}}, as far as they
    are known. device : where the network runs. digest : identifies recipe and weights together.
    """

    recipe: Recipe
    threshold: Threshold | None = None
    by_site: Mapping[str, Threshold] = field(default_factory=dict)
    normals: Normals | None = None
    calibrated_on: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    digest: str = ""

    def map(
        self,
        volume: Volume,
        inside: Volume | None = None,
        channels: Mapping[str, Volume] = NO_CHANNELS,
    ) -> Volume:
        """Return the anomaly map on the volume's grid, float32, higher = odder.

        inside : the body mask, else the recipe finds the body. channels : by name, for a recipe
        that asks for some. Raises InputError.
        """
        return volume.like(self._mapped(Scan(volume, inside, channels=channels))[0])

    def segment(
        self,
        volume: Volume,
        inside: Volume | None = None,
        channels: Mapping[str, Volume] = NO_CHANNELS,
    ) -> Segmentation:
        """Return map, mask and score. Raises ModelError while the detector has no threshold."""
        threshold = self.calibrated_threshold
        anomaly, prepared = self._mapped(Scan(volume, inside, channels=channels))
        cleanup = self.recipe.cleanup.dropping_below(threshold.min_lesion_mm3)
        mask = cleanup(
            anomaly, prepared.body, threshold=threshold.value, voxel_mm3=volume.voxel_mm3
        )
        score = scan_score(anomaly[prepared.body]) if self.is_comparable else None
        return Segmentation(
            volume.like(anomaly),
            volume.like(mask),
            volume.like(prepared.body),
            score,
            likeness(
                self.typical,
                appearance(prepared, volume),
                self.normals.distances if self.normals else None,
            ),
        )

    @property
    def typical(self) -> Typical | None:
        """What the training scans look like; None of a model that does not say it."""
        told = self.record.get("typical", {})
        known = all(
            told.get(part) == [getattr(feature, part[:-1]) for feature in FEATURES]
            for part in ("names", "kinds")
        )
        return Typical.from_json(told) if known else None

    @property
    def resizes(self) -> bool:
        """Whether slices are brought to one size, whatever the size of a scan's pixels."""
        return self.recipe.prep.slices.size is not None

    @property
    def is_comparable(self) -> bool:
        """Whether map values mean the same in two scans: no promise and no score without."""
        return not self.recipe.method.scaled_per_slice

    @property
    def has_unit_maps(self) -> bool:
        """Whether its maps lie in [0, 1], of every scan; averaging keeps them there."""
        return self.recipe.method.unit_map and self.recipe.prep.maps.level == "none"

    @property
    def calibrated_threshold(self) -> Threshold:
        """The one threshold. Raises ModelError while there is none, or one a site."""
        if self.by_site:
            raise ModelError(
                f"This model has a threshold for each of its sites, {', '.join(self.by_site)}. "
                "Say which one holds: --site NAME."
            )
        if self.threshold is None:
            raise ModelError(
                "This model has no threshold yet. Set one on normal scans that it was not trained "
                "on: wholesight calibrate MODEL DATA --alpha 0.05"
            )
        return self.threshold

    def at_site(self, site: str | None) -> Detector:
        """Return the detector with the threshold and the normals of one site.

        It is itself where the thresholds are not by site. Raises UsageError when they are and no
        site, or one without a threshold, is named.
        """
        if not self.by_site:
            return self
        if site is None:
            raise UsageError(
                "This model has a threshold for each site, and none is named for this scan. Say "
                f"which one holds by --site. There are: {', '.join(self.by_site)}."
            )
        if site not in self.by_site:
            raise UsageError(
                f"This model has no threshold for site '{site}'. {nearest(site, self.by_site)} "
                "Calibrate it on normal scans of this site too: wholesight calibrate ... --by site"
            )
        normals = self.normals.of_site(site) if self.normals else None
        return replace(self, threshold=self.by_site[site], by_site={}, normals=normals)

    def p_value(self, score: float | None) -> float | None:
        """Return how rare a scan's score is among normal scans (Bates et al. 2023).

        None where there are no scores to compare with. Raises ModelError where sites are not told
        apart yet.
        """
        if self.by_site:
            raise ModelError("p-values are of one site: name it first, by at_site.")
        return self.normals.p_value(score) if self.normals else None

    def normal_scan(self, subject: str, site: str | None, scan: Scan) -> NormalScan | None:
        """Return the summary of the map in the body of a scan's normal slices; None without any.

        A scan's truth serves to leave its abnormal slices out, and for nothing else.
        """
        anomaly, prepared = self._mapped(scan)
        normal = prepared.normal_body()
        if not normal.any():
            return None
        occupied = prepared.inside.any(axis=(1, 2, 3))
        typical = self.typical
        summary = summarise(
            self.recipe.cleanup.filled(anomaly, prepared.body),
            normal,
            subject=subject,
            site=site,
            slices=int((prepared.normal & occupied).sum()),
            whole=bool(prepared.normal[occupied].all()),
            voxel_mm3=scan.image.voxel_mm3,
            scored=False,
            distance=typical.distance(appearance(prepared, scan.image)) if typical else None,
        )
        # Of the map itself, as `segment` writes it: holes are filled for the mask alone.
        if not self.is_comparable:
            return summary
        return replace(summary, score=scan_score(anomaly[normal]))

    def calibrate(
        self, scans: Iterable[tuple[str, Scan]], terms: Terms, *, doubts: Sequence[str] = ()
    ) -> Detector:
        """Return this detector with a threshold set on the normal slices of (subject, scan) pairs.

        doubts : why a promise may not hold, each a sentence. Raises UsageError when a subject
        served the training, and when the terms ask for more than the scans can give.
        """
        self.require_comparable(terms)
        found = (self._unseen_scan(subject, scan) for subject, scan in scans)
        normals = Normals(scan for scan in found if scan is not None)
        return self.with_normals(normals, terms, doubts=doubts)

    def with_normals(
        self,
        normals: Normals,
        terms: Terms,
        *,
        by_site: bool = False,
        doubts: Sequence[str] = (),
        void: str = "",
        files: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Detector:
        """Return this detector with its threshold, or one a site, worked out from summaries.

        doubts : why a promise may not hold, each a sentence. void : why there is none at all.
        files : of the normal scans, {subject: {"case/role": sha256}}, so that they are known again.
        Raises UsageError when the terms ask for more than the normals, or those of one site, give.
        """
        self.require_comparable(terms)
        find = threshold_of_each_site if by_site else threshold_of
        smallest = self.recipe.cleanup.min_lesion_mm3
        found = find(normals, terms, min_lesion_mm3=smallest, doubts=doubts, void=void)
        calibrated = replace(self, normals=normals, calibrated_on=files or {})
        if isinstance(found, Threshold):
            return replace(calibrated, threshold=found, by_site={})
        return replace(calibrated, threshold=None, by_site=found)

    def require_comparable(self, terms: Terms) -> None:
        """Refuse a promise on maps that are scaled slice by slice. Raises UsageError."""
        if terms.rule in SCREENING and not self.is_comparable:
            raise UsageError(
                f"--rule {terms.rule}: {self.recipe.name} scales the map of every slice by itself, "
                "so that the oddest place of a healthy slice is as high as a lesion, and no "
                "threshold can promise how much of a healthy scan lies above it. Choose --rule "
                "percentile or fixed, which promise nothing, or train a recipe whose map is not "
                "scaled slice by slice."
            )

    @property
    def trained_on(self) -> frozenset[str]:
        """The subjects that served the training."""
        return frozenset(self.record.get("data", {}).get("subjects", []))

    def _unseen_scan(self, subject: str, scan: Scan) -> NormalScan | None:
        self.require_unseen_subjects((subject,))
        return self.normal_scan(subject, None, scan)

    def require_unseen_subjects(self, subjects: Iterable[str]) -> None:
        """Refuse subjects that served the training. Raises UsageError that names the first."""
        for subject in subjects:
            if subject in self.trained_on:
                raise UsageError(
                    f"subject {subject} served the training of this model, so its scores are too "
                    "low for a threshold. Calibrate on other subjects: see split.json."
                )

    def require_unseen(self, files: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse images that served the training, whatever they are called now.

        files : {subject: {"case/role": sha256}}. Raises UsageError.
        """
        for name, subject in self.seen_images(files).items():
            raise UsageError(
                f"{name}: the same image served the training of this model, as subject "
                f"{subject}. Calibrate on other scans."
            )

    def seen_images(self, files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Return {case: subject in training} of the images that served the training.

        By their voxels: a copy that is compressed in another way is the same image. files :
        {subject: {"case/role": sha256}}, see `datasets.scans.file_hashes`.
        """
        trained = self.record.get("data", {}).get("files", {})
        seen = {sha: subject for subject, shas in trained.items() for sha in shas.values()}
        return {
            name.removesuffix(VOXELS): seen[sha]
            for shas in files.values()
            for name, sha in shas.items()
            if name.endswith(VOXELS) and sha in seen
        }

    def served(self, subject: str, voxels: str) -> str | None:
        """Say whether a subject or an image served the training or the calibration; else None.

        voxels : the image's `voxels_sha256`. A model of an earlier calibration knows no images.
        """
        trained = self.record.get("data", {}).get("files", {})
        for part, files in (("training", trained), ("calibration", self.calibrated_on)):
            if subject in files or any(voxels in shas.values() for shas in files.values()):
                return part
        return None

    def _mapped(self, scan: Scan) -> tuple[np.ndarray, Prepared]:
        prepared = self.recipe.prep.forward(scan)
        return prepared.restore(self._slice_maps(prepared)), prepared

    def _slice_maps(self, prepared: Prepared) -> np.ndarray:
        """(n, 1, H, W) maps; slices without body stay 0 and cost nothing."""
        method = self.recipe.method.to(self.device).eval()
        maps = np.zeros_like(prepared.pixels[:, :1])
        occupied = np.flatnonzero(prepared.inside.any(axis=(1, 2, 3)))
        for start in range(0, len(occupied), BATCH):
            part = occupied[start : start + BATCH]
            slices = torch.from_numpy(prepared.pixels[part]).to(self.device)
            inside = torch.from_numpy(prepared.inside[part]).to(self.device)
            maps[part] = method.anomaly_map(slices, inside).cpu().numpy()
        if not np.isfinite(maps).all():
            raise ModelError(
                "The network's map of this scan is not finite. Train again; if that does not help, "
                "report the recipe as a bug."
            )
        return maps

    def save(self, folder: Path) -> Detector:
        """Write the model, each file atomically, record.json last. Raises OutputError.

        Returns the detector as it would be loaded, with its digest.
        """
        _, record, digest = folders.write_model(folder, self.recipe, self.record)
        return replace(self, record=record, digest=digest)

    def save_calibration(self, folder: Path, report: Mapping[str, Any] | None = None) -> None:
        """Write the normals, a report on the calibration and the threshold beside the model.

        report : plain data. Raises OutputError.
        """
        found = folders.Calibration(self.threshold, self.by_site, self.normals, self.calibrated_on)
        folders.write_calibration(folder, self.digest, found, report)

    @classmethod
    def load(
        cls, folder: Path | str, device: str = "cpu", *, with_threshold: bool = True
    ) -> Detector:
        """Load a model folder. Raises ModelError when it is incomplete, damaged or too new.

        with_threshold : False leaves a calibration unread, for who makes another one.
        """
        recipe, record, digest = folders.read_model(Path(folder))
        found = folders.Calibration()
        if with_threshold:
            found = folders.read_calibration(Path(folder), digest)
        return cls(
            recipe=recipe,
            threshold=found.threshold,
            by_site=found.by_site,
            normals=found.normals,
            calibrated_on=found.files,
            record=record,
            device=device,
            digest=digest,
        )


def device_name(wanted: Literal["auto", "cpu", "cuda"]) -> str:
    """Return where networks run, cpu or cuda. Raises UsageError for cuda where there is none."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise UsageError("--device cuda: torch finds no GPU here. Use --device auto or cpu.")
    return "cuda" if found and wanted != "cpu" else "cpu"
