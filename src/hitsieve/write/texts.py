"""Small text files that appear together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hitsieve.write.atomic import OutputFiles, writing


def write_texts(texts: Mapping[Path, str]) -> None:
    """Write texts, in place of earlier ones, all or none, and bring them to the disk.

    Parameters
    ----------
    texts : mapping of Path to str
        All in one folder, which is made if absent.

    Raises
    ------
    OutputError
        They cannot be written.
    """
    with OutputFiles(tuple(texts), overwrite=True, inputs=()) as files:
        for path, text in texts.items():
            stream = files.open(path)
            with writing(path):
                # Names of files need not be text; JSON reads this escape as what it was.
                stream.write(text.encode(errors="backslashreplace"))
