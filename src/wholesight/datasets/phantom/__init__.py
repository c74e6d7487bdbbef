"""The phantom: made-up heads, some with a made-up lesion, whose truth is known to the voxel."""

from wholesight.datasets.phantom.cohort import case_stream, write_phantom
from wholesight.datasets.phantom.compose import PhantomHead, phantom_head
from wholesight.datasets.phantom.field import Grid
from wholesight.datasets.phantom.stress import write_stress

__all__ = ["Grid", "PhantomHead", "case_stream", "phantom_head", "write_phantom", "write_stress"]
