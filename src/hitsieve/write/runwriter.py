"""All outputs of one run, written together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError
from hitsieve.model import ImageResults, Problem, Run, SecondLook, State
from hitsieve.settings import RunSettings
from hitsieve.write.annotated import AnnotatedFile
from hitsieve.write.atomic import OutputFiles, signals_held, writing
from hitsieve.write.hits import HitsFile
from hitsieve.write.misses import MissesFile
from hitsieve.write.outputs import Outputs, left_over
from hitsieve.write.pumped import PumpCounts
from hitsieve.write.releasefile import check_not_only_copy
from hitsieve.write.summary import Summary
from hitsieve.write.table import ImageTableFile

_log = logging.getLogger(__name__)
Image = bytes | npt.NDArray[Any]


class RunWriter:
    """Writes the outputs of a run; none is visible before `finish`, and leaving early leaves none.

    Use as a context manager.

    Parameters
    ----------
    run : Run
        The source.
    settings : RunSettings
        `write` says where to, and whether to replace outputs that exist.

    Raises
    ------
    OutputError
        An output exists or is a file of the input, or the folder cannot be written.
    SettingsError
        Files for pump states are wanted, and cannot be had.
    """

    def __init__(self, run: Run, settings: RunSettings) -> None:
        self._run = run
        self._n_images = 0
        self._carried = False
        self._finished = False
        self.outputs = Outputs.of_run(run, settings.write)
        self._by_pump = PumpCounts(() if run.pump is None else run.pump.names)
        if os.path.lexists(self.outputs.hits):
            check_not_only_copy(self.outputs.hits)
        inputs = (run.path, *(file.path for file in run.files))
        self._files = OutputFiles(tuple(self.outputs), overwrite=settings.write.overwrite, inputs=inputs)
        folder = settings.write.output
        with ExitStack() as undo:
            undo.callback(self._files.abort)
            with signals_held():
                streams = {final: self._files.open(final) for final in self.outputs}
            self._hit_files: dict[Path, HitsFile] = {}
            for pump, final in ((None, self.outputs.hits), *enumerate(self.outputs.pump_hits)):
                with self._writing(final):
                    self._hit_files[final] = HitsFile(streams[final], run, folder, pump)
                    undo.callback(self._hit_files[final].abandon)
            self._hits = self._hit_files[self.outputs.hits]
            self._misses: MissesFile | None = None
            if self.outputs.misses is not None:
                with self._writing(self.outputs.misses):
                    self._misses = MissesFile(streams[self.outputs.misses], run, folder)
                    undo.callback(self._misses.abandon)
            with self._writing(self.outputs.annotated):
                self._annotated = AnnotatedFile(streams[self.outputs.annotated], run, folder)
                undo.callback(self._annotated.abandon)
            with self._writing(self.outputs.images):
                self._table = ImageTableFile(streams[self.outputs.images], run, settings)
            self._summary = streams[self.outputs.summary]
            undo.pop_all()

    @contextmanager
    def _writing(self, final: Path) -> Iterator[None]:
        """Failures to write an output become OutputError, also those that HDF5 does not hear of."""
        try:
            with writing(final):
                yield
        except HitsieveError:
            self._files.check(final)
            raise
        self._files.check(final)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._abandon()

    @property
    def n_hits(self) -> int:
        """Hits so far."""
        return len(self._hits.chunks)

    @property
    def hit_bytes(self) -> int:
        """Stored bytes of the hits so far."""
        return self._hits.chunks.stored_bytes

    @property
    def miss_bytes(self) -> int | None:
        """Stored bytes of the misses so far; None where they are not kept."""
        return None if self._misses is None else self._misses.chunks.stored_bytes

    def wants(self, results: ImageResults) -> npt.NDArray[np.bool_]:
        """Which images of a batch `add` must be given."""
        hits = self._hits.chosen(results)
        return hits if self._misses is None else hits | self._misses.chosen(results)

    def carry(self) -> tuple[Problem, ...]:
        """Carry the source's per-image arrays into the outputs, once all images are added.

        Returns
        -------
        tuple of Problem
            All that could not be carried over into either HDF5 output, and what they lack.

        Raises
        ------
        OutputError
            No space or permission.
        ValueError
            Images are not all added.
        """
        if self._n_images != len(self._run):
            raise ValueError(f"{self._n_images} images added of {len(self._run)}")
        if not self._carried:
            for final, hits in self._hit_files.items():
                with self._writing(final):
                    hits.carry()
            if self._misses is not None and self.outputs.misses is not None:
                with self._writing(self.outputs.misses):
                    self._misses.carry()
            with self._writing(self.outputs.annotated):
                self._annotated.carry()
            self._carried = True
        not_held = None if self._misses is None else self._misses.not_held
        found = (*self._hits.frame.problems, *self._annotated.frame.problems)
        return tuple(dict.fromkeys(found if not_held is None else (*found, not_held)))

    def add(self, results: ImageResults, images: Mapping[int, Image]) -> None:
        """Append one batch of consecutive images.

        Parameters
        ----------
        results : ImageResults
            Results of the images after those already added.
        images : mapping of int to bytes or array
            For each hit of the batch (index in the run), its stored chunk, which is copied verbatim, or its pixels,
            shape (slow, fast), where the source has no such chunk. Where misses are kept, those too, and the bytes of
            unreadable images, which may be none: all that it `wants`.

        Raises
        ------
        OutputError
            No space or permission.
        ValueError
            The batch does not follow the last one, or `images` are not those wanted of it.
        """
        expected = np.arange(self._n_images, self._n_images + len(results))
        if not np.array_equal(results.image, expected):
            raise ValueError(f"expected images from {self._n_images} on, got {results.image}")
        self._add_images(results, images)
        for final, file in self._hit_files.items():
            with self._writing(final):
                file.add(results, self._annotated.n_spots)
        self._by_pump.add(results)
        if self._misses is not None and self.outputs.misses is not None:
            with self._writing(self.outputs.misses):
                self._misses.add(results, images)
        with self._writing(self.outputs.annotated):
            self._annotated.add(results)
        with self._writing(self.outputs.images):
            self._table.add(results)
        self._n_images += len(results)

    def _add_images(self, results: ImageResults, images: Mapping[int, Image]) -> None:
        """Give each hit and miss of a batch to the files that it belongs to; each is read once."""
        wanted = results.image[self.wants(results)].tolist()
        if set(wanted) != set(images):
            raise ValueError(f"images are needed of {wanted} and given of {sorted(images)}")
        places = [(final, file.chunks, file.chosen(results)) for final, file in self._hit_files.items()]
        if self._misses is not None and self.outputs.misses is not None:
            places.append((self.outputs.misses, self._misses.chunks, results.state == State.MISS))
        for place in np.flatnonzero(np.any([chosen for _, _, chosen in places], axis=0)).tolist():
            image = int(results.image[place])
            # What reads the source has its own errors.
            stored = images[image]
            for final, chunks, chosen in places:
                if chosen[place]:
                    with self._writing(final):
                        chunks.add(image, stored)

    def finish(self, summary: Summary, audit: Iterable[tuple[int, Image]], look: SecondLook | None = None) -> Outputs:
        """Complete the outputs and make them visible, all together.

        Parameters
        ----------
        summary : Summary
            The run's numbers.
        audit : iterable of (int, bytes or array)
            The misses of `choose_audit`, each with its stored chunk or pixels.
        look : SecondLook, optional
            What a second look at misses found.

        Returns
        -------
        Outputs
            The files.

        Raises
        ------
        OutputError
            No space or permission; then nothing is left.
        ValueError
            Images are not all added, or the summary does not agree with them.
        """
        if self._n_images != len(self._run) or summary.n_images != len(self._run):
            raise ValueError(f"{self._n_images} images added and {summary.n_images} summed up of {len(self._run)}")
        if summary.n_hits != self.n_hits:
            raise ValueError(f"{self.n_hits} hits added and {summary.n_hits} summed up")
        lines = dict.fromkeys((*summary.problems, *(str(problem) for problem in self.carry())))
        summary = self.named(summary.model_copy(update={"problems": tuple(lines)}))
        with self._writing(self.outputs.annotated):
            self._annotated.flush()
        for final, file in self._hit_files.items():
            with self._writing(final):
                if file.pump is None:
                    file.finish(summary, audit, self._annotated)
                else:
                    file.finish(self._by_pump.summary_of(file.pump, summary), None, self._annotated)
        if self._misses is not None and self.outputs.misses is not None:
            with self._writing(self.outputs.misses):
                self._misses.finish(summary)
        with self._writing(self.outputs.annotated):
            self._annotated.finish(summary, look)
        with self._writing(self.outputs.images):
            self._table.finish(summary.date)
        with self._writing(self.outputs.summary):
            self._summary.write(f"{summary.model_dump_json(indent=2)}\n".encode())
        self._files.sync()
        # From the first rename on, an interruption must find all outputs or none.
        with signals_held():
            self._files.commit()
            self._finished = True
        for path in left_over(self.outputs):
            _log.warning("%s: is not of this run, and stays; remove it if it is of an earlier one", path)
        return self.outputs

    def named(self, summary: Summary) -> Summary:
        """The summary with the names of the pump states' hit-only files."""
        pump = summary.pump
        if pump is None or not self.outputs.pump_hits or self._run.pump is None:
            return summary
        files = dict(zip(self._run.pump.names, (path.name for path in self.outputs.pump_hits), strict=True))
        states = [state.model_copy(update={"hits_file": files.get(state.name)}) for state in pump.states]
        return summary.model_copy(update={"pump": pump.model_copy(update={"states": tuple(states)})})

    def _abandon(self) -> None:
        closing: list[Callable[[], None]] = [file.abandon for file in self._hit_files.values()]
        closing += [] if self._misses is None else [self._misses.abandon]
        closing += [self._annotated.abandon, self._table.close]
        for close in closing:
            # What could not be written cannot be flushed either; the file goes anyway.
            with suppress(OSError, RuntimeError, HitsieveError):
                close()
        self._files.abort()
