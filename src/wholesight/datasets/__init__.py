"""Data sets on disk: find the cases, read them, and say what is wrong."""

from wholesight.datasets.case import Case
from wholesight.datasets.dataset import LAYOUTS, DataSet, open_dataset
from wholesight.datasets.split import SPLITS

__all__ = ["LAYOUTS", "SPLITS", "Case", "DataSet", "open_dataset"]
