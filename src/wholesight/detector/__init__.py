"""A trained detector, and the folder of plain files that it is kept in."""

from wholesight.detector.detector import BATCH, Detector, Segmentation, device_name
from wholesight.detector.folder import CALIBRATION, FORMAT_VERSION, NORMALS, RECORD, THRESHOLD

__all__ = [
    "BATCH",
    "CALIBRATION",
    "FORMAT_VERSION",
    "NORMALS",
    "RECORD",
    "THRESHOLD",
    "Detector",
    "Segmentation",
    "device_name",
]
