"""The nouns of hitsieve and the conventions that every room refers to.

Conventions
-----------
Pixel coordinates are (x = fast, y = slow); pixel (0, 0) of an image has its centre at (0.5, 0.5), as NXmx
beam centres have. Array axes are (slow, fast).

The laboratory frame is that of NeXus (McStas): z along the beam, y up, x so that the frame is right-handed;
the sample is at the origin. Positions are in metres.

Wavelengths, cell lengths and resolutions d are in angstrom; q = 1/d is in 1/angstrom.
"""

from hitsieve.model.closing import Closing
from hitsieve.model.detector import Beam, Detector, Panel
from hitsieve.model.lattice import CellParameters, Lattice, Lattices, UnitCell
from hitsieve.model.results import SPOT_FLAGS, ImageResults, Looked, SecondLook, SpotFlag, Spots, State
from hitsieve.model.run import Codec, DataFile, ImageHeaders, ImageTable, Place, Problem, PumpStates, Run
from hitsieve.model.stream import DROPPED_FIELD, Message, PackedImage, SeriesEnd, SeriesImage, SeriesKey, SeriesStart

__all__ = [
    "DROPPED_FIELD",
    "SPOT_FLAGS",
    "Beam",
    "CellParameters",
    "Closing",
    "Codec",
    "DataFile",
    "Detector",
    "ImageHeaders",
    "ImageResults",
    "ImageTable",
    "Lattice",
    "Lattices",
    "Looked",
    "Message",
    "PackedImage",
    "Panel",
    "Place",
    "Problem",
    "PumpStates",
    "Run",
    "SecondLook",
    "SeriesEnd",
    "SeriesImage",
    "SeriesKey",
    "SeriesStart",
    "SpotFlag",
    "Spots",
    "State",
    "UnitCell",
]
