"""Bad inputs, made on the spot, each with the code that it must get."""

from corpus.bad import Bad
from corpus.dicom import DICOM
from corpus.nifti import NIFTI
from corpus.picture import PICTURE

CORPUS: dict[str, dict[str, Bad]] = {
    "NIfTI": NIFTI.entries,
    "DICOM": DICOM.entries,
    "picture": PICTURE.entries,
}
