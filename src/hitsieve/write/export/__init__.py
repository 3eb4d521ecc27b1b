"""Lattices and lists of images in the forms of other programs: DIALS and CrystFEL."""

from hitsieve.write.export.crystfel import StreamText
from hitsieve.write.export.dials import DialsFiles
from hitsieve.write.export.events import event_list, source_list
from hitsieve.write.export.files import writing_files
from hitsieve.write.export.geometry import cell_file, geometry_file
from hitsieve.write.export.images import Experiment, Images
from hitsieve.write.export.places import find_places

__all__ = [
    "DialsFiles",
    "Experiment",
    "Images",
    "StreamText",
    "cell_file",
    "event_list",
    "find_places",
    "geometry_file",
    "source_list",
    "writing_files",
]
