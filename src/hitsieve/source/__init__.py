"""From paths to an opened run: where each image's bytes are, and what the source says about the experiment."""

from hitsieve.source.masters import Looked, Master, choose_masters, find_masters, hdf5_files, look
from hitsieve.source.neighbours import linked_from, linking_to
from hitsieve.source.one import metadata_of, read_image
from hitsieve.source.opened import OpenedRun
from hitsieve.source.opening import open_run, stem_of

__all__ = [
    "Looked",
    "Master",
    "OpenedRun",
    "choose_masters",
    "find_masters",
    "hdf5_files",
    "linked_from",
    "linking_to",
    "look",
    "metadata_of",
    "open_run",
    "read_image",
    "stem_of",
]
