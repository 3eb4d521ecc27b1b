"""Reading an image in a process of its own: damaged data on which a plug-in of HDF5 crashes bring down nothing else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Place

PATIENCE = 60.0
"""Seconds after which an image is given up."""
_CODE = "import sys; sys.path[:] = {path!r}; from hitsieve.source.apart import main; main()"


def read_apart(place: Place) -> npt.NDArray[np.generic]:
    """Counts of one image of an HDF5 file, read by another process.

    Raises
    ------
    SourceError
        The image cannot be decoded, or the process crashed on it or did not come to an end.
    """
    # The child takes modules from where this process does, and from nowhere else.
    code = _CODE.format(path=[str(Path(part).absolute()) if part else str(Path.cwd()) for part in sys.path])
    question = json.dumps({"path": os.fsdecode(place.path), "dataset": place.dataset, "row": place.row})
    mend = "copy the file again from its origin"
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter itself, with code from here
            [sys.executable, "-c", code],
            input=question.encode("ascii"),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SourceError(f"{place}: HDF5 did not get on with the image within {PATIENCE:.0f} s", mend=mend) from None
    if done.returncode == 0:
        values: npt.NDArray[np.generic] = np.load(io.BytesIO(done.stdout), allow_pickle=False)
        return values
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    why = said[-1] if done.returncode > 0 and said else "the HDF5 library crashed on it"
    raise SourceError(f"{place}: the image cannot be decoded: {why}", mend=mend)


def main() -> None:
    """Read the image that stdin names, and write it to stdout as a NumPy file."""
    from hitsieve.filters import register_filters

    register_filters()
    asked = json.loads(sys.stdin.read())
    try:
        with h5py.File(asked["path"], "r", locking=False) as file:
            item = file[asked["dataset"]]
            values = np.ascontiguousarray(item[asked["row"]] if item.ndim == 3 else item[()])
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        sys.exit(" ".join(str(error).split()))
    buffer = io.BytesIO()
    np.save(buffer, values)
    sys.stdout.buffer.write(buffer.getvalue())
