"""What every code means that a file, a data set or a result can get. Codes are stable.

A code that begins with E_ is a refusal: what it speaks of is not used. One that begins with N_ is a
note: it is used, and whoever looks at the result should know. Grouped by what they are about; of
these tables docs/make_errors_page.py makes docs/reference/errors.md.
"""

from __future__ import annotations

from typing import Final

REFUSALS: Final[dict[str, dict[str, str]]] = {
    "One file": {
        "E_AFFINE": "The header places the voxels nowhere: no qform or sform that can be used, or "
        "no place in space of a DICOM slice.",
        "E_CRC": "The compressed data are damaged: the checksum is wrong.",
        "E_DIMS": "The dimensions are impossible, or more than three and no volume was chosen.",
        "E_DTYPE": "The voxels are colours (other than of a picture), complex numbers or of an "
        "unknown type.",
        "E_EMPTY": "There is nothing to look at: one value everywhere, hardly any voxel that "
        "is not 0, or a body mask that marks none.",
        "E_EXTRA": "Packages that this kind of file needs are not installed.",
        "E_FORMAT": "Not the kind of file that is needed here, or damaged beyond recognition.",
        "E_HEADER": "The header says what cannot be.",
        "E_LABELS": "A mask holds something else than whole numbers from 0.",
        "E_NONFINITE": "Voxels are NaN, infinite or beyond float32: too many, or in the body.",
        "E_NOT_FILE": "A folder or a device where a file is needed.",
        "E_NOT_FOUND": "No such file or folder, or a link to one that is not here.",
        "E_READ": "The file cannot be read: permissions, or the disk.",
        "E_SCALE": "The header's scale and intercept contradict each other.",
        "E_TOO_LARGE": "More memory is needed than a scan gets, or more data come than declared.",
        "E_TRUNCATED": "The file is cut off, or empty.",
    },
    "A DICOM series": {
        "E_DEADLINE": "Reading it took longer than it may.",
        "E_GAP": "Slices are missing between others.",
        "E_MIXED": "What must be one differs between slices: size, pixel distance, frame of "
        "reference; or a volume is a part of an enhanced file.",
        "E_ONE_SLICE": "One slice alone, or all at one place: no volume.",
        "E_SAME_PLACE": "Different slices lie at one place.",
        "E_SERIES": "Several series are volumes, or none is the one that was asked for.",
        "E_SOP_CLASS": "The object is no slice of a volume: a picture of a screen, a report, ...",
        "E_SPACING": "The slices lie at uneven distances, or beside a regular grid.",
        "E_SYNTAX": "The pixels are compressed in a way that no installed codec reads.",
    },
    "One case": {
        "E_BACKGROUND": "Values below the background: what is body cannot be told.",
        "E_BODY": "Where the body is cannot be told from a map that is 0 in it.",
        "E_GRID": "Image and mask, map or body mask do not lie on one grid.",
        "E_INTENSITY": "The intensities of the body cannot be scaled.",
        "E_MISSING_MODALITY": "A case has no image of the modality that is needed.",
        "E_NO_BODY": "No body was found.",
        "E_SITE": "The scan's site has no threshold, or a site is called as none can be.",
        "E_SLICES": "The image has fewer axial slices than are to be read.",
        "E_VOXEL_SIZE": "The voxels are several times larger or smaller than those of the "
        "training.",
    },
    "A data set": {
        "E_AMBIGUOUS": "A file could belong to two cases.",
        "E_DUPLICATE": "Two files or folders claim to be the same case.",
        "E_LAYOUT": "No data set is here: none of the known layouts fits.",
        "E_LEAK": "A subject or an image would serve twice where it may serve once.",
        "E_MANIFEST": "The manifest cannot be understood.",
        "E_NO_CASES": "No case is left for what is to be done.",
        "E_NO_NORMAL": "No normal slice is left to learn from.",
        "E_NO_TRUTH": "A case that is to be judged has no mask.",
        "E_PARTICIPANTS": "participants.tsv of a BIDS data set cannot be understood.",
        "E_SPLIT": "split.json cannot be understood, or puts a subject into two parts.",
    },
    "Results that are read again": {
        "E_CHANGED": "A map is no longer the one that was written.",
        "E_EVALUATION": "A stored evaluation is damaged.",
        "E_NO_MAP": "There is no map for a case.",
        "E_NO_NORMALS": "The summary of normal scans is missing.",
        "E_NO_RUN": "The folder holds no finished run of wholesight segment.",
    },
    "A run": {
        "E_INTERNAL": "A fault of wholesight. Please report it.",
        "E_METHOD": "A method failed on data that are right, such as a training that diverged.",
        "E_MODEL": "The model gives this scan no finite map, or cannot be used.",
        "E_WORKER": "The process that worked on it was killed, mostly for want of memory.",
    },
}

NOTES: Final[dict[str, dict[str, str]]] = {
    "One file": {
        "N_ALPHA": "Transparent pixels of a picture were laid on black.",
        "N_DEPTH": "The colours of a picture have more bits than are read.",
        "N_NAME": "The file is of another kind than its name says: compressed or not, or a picture "
        "of another format.",
        "N_NO_ORIENTATION": "The header does not say how voxels lie: left and right are unknown.",
        "N_NO_SPACING": "A picture does not say how large its pixels are; 1 mm is taken.",
        "N_UNITS": "Lengths are not in millimetres by the header, and are taken as such.",
        "N_QFORM": "The qform cannot be used; the sform is.",
        "N_ROTATED": "A picture is read as it is displayed, turned or mirrored from how it is "
        "stored.",
        "N_SCALE": "The header's scale is not a finite number, and none is applied.",
        "N_SFORM": "The sform cannot be used; the qform is.",
        "N_SPACING_MENDED": "A spacing of 0 or below was taken as 1, or without its sign.",
        "N_TWO_PLACES": "qform and sform place the voxels differently; the sform is used.",
        "N_FILLED": "A few voxels without a finite value, none in the body, were set to 0.",
    },
    "A DICOM series": {
        "N_DUPLICATE_SLICE": "Slices are there twice, in the same place and alike.",
        "N_SERIES": "Other series or objects in the folder are not read.",
    },
    "One scan": {
        "N_BODY": "The body is much larger or smaller than those of the training.",
        "N_EMPTY": "The mask is empty.",
        "N_MUCH": "More than half of the body is flagged.",
        "N_NO_P": "There is no p-value.",
        "N_SEEN": "The scan served the training or the threshold.",
        "N_UNLIKE": "The scan is unlike those of the training: do not believe its result.",
        "N_SPACING": "The voxels are much larger or smaller than those of the training.",
    },
    "A cohort": {
        "N_ALL_EMPTY": "No scan of many has anything flagged.",
        "N_DOUBT": "Something speaks against these p-values.",
        "N_FEW_NORMALS": "Too few normal scans for what is asked of p-values.",
        "N_SUBJECTS": "Several scans are of one subject.",
    },
    "A data set": {
        "N_DEALT": "No split.json says which pictures train; the layout's own rule does.",
        "N_DUPLICATE": "The same image or case is there twice.",
        "N_NEGATIVE": "Some scans have values below 0.",
        "N_NO_MASK": "Cases have no mask.",
        "N_NO_SPLIT": "Cases belong to no part of the split.",
        "N_OUTSIDE": "Abnormal voxels lie outside the body mask.",
        "N_SPLIT": "split.json names subjects that are not there.",
        "N_UNUSED": "Files or folders are not used.",
    },
}

MEANINGS: Final[dict[str, str]] = {
    code: meaning
    for table in (REFUSALS, NOTES)
    for group in table.values()
    for code, meaning in group.items()
}
