"""Text and bytes into files that appear together, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hitsieve.write.atomic import OutputFiles

Write = Callable[[Path, bytes], None]


@contextmanager
def writing_files(finals: Sequence[Path], *, overwrite: bool, inputs: Iterable[Path]) -> Iterator[Write]:
    """Give the function that appends to one of `finals`; they become visible when the block ends without an error.

    Parameters
    ----------
    finals : sequence of Path
        All in one folder, which is made if absent.
    overwrite : bool
        Replace files that exist.
    inputs : iterable of Path
        Files that must never be written.

    Raises
    ------
    OutputError
        A file exists, is an input, or cannot be written; then nothing is left.
    """
    with OutputFiles(finals, overwrite=overwrite, inputs=inputs) as files:
        streams = {final: files.open(final) for final in finals}

        def write(final: Path, content: bytes) -> None:
            streams[final].write(content)
            files.check(final)

        yield write
