"""What the tests of file formats share."""

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Header

_HEADERS = {1: nib.Nifti1Header, 2: nib.Nifti2Header}


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """5 x 6 x 7 whole numbers, none of them 0."""
    return np.random.default_rng(0).integers(1, 200, (5, 6, 7)).astype(np.int16)


@pytest.fixture(scope="session")
def nifti_header() -> Callable[..., Nifti1Header]:
    """A maker of headers with any field at all; spacing 1 x 2 x 3 mm unless told."""

    def make(version=1, endian="<", dtype=np.int16, shape=(5, 6, 7), **fields) -> Nifti1Header:
        header = _HEADERS[version](endianness=endian)
        header.set_data_dtype(dtype)
        header.set_data_shape(shape)
        header["magic"] = header.single_magic
        header["vox_offset"] = header.single_vox_offset
        header["sform_code"] = 1
        header["srow_x"], header["srow_y"], header["srow_z"] = np.diag([1, 2, 3, 1])[:3]
        for name, value in fields.items():
            header[name] = value
        return header

    return make


@pytest.fixture(scope="session")
def nifti_bytes(voxels, nifti_header) -> Callable[..., bytes]:
    """A maker of .nii files, those too that nibabel would not write."""

    def make(stored=voxels, **fields) -> bytes:
        given = {"dtype": stored.dtype, "shape": stored.shape} | fields
        header = nifti_header(**given)
        ordered = stored.astype(stored.dtype.newbyteorder(header.endianness))
        return header.binaryblock + b"\0\0\0\0" + ordered.tobytes("F")

    return make


@pytest.fixture
def dicom_here(monkeypatch, dicom_made) -> None:
    """Read and write DICOM in this process, which saves the time that another takes to start."""
    from wholesight.io import dicom

    monkeypatch.setattr(dicom, "_run", dicom_made.work_here)
