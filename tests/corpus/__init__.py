"""Bad inputs, made on the spot, each with the code that it must get."""

from corpus.bad import Bad
from corpus.nifti import NIFTI

CORPUS: dict[str, dict[str, Bad]] = {"NIfTI": NIFTI.entries}
