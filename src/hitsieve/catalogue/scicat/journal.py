"""What was sent for a run, kept where an account may create datasets but not look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

Mark = Literal["begun", "done"]


class Journal:
    """Steps that were begun and done; each is saved before the request and after its answer.

    Parameters
    ----------
    steps : mapping of str to "begun" or "done"
        What an earlier session left.
    save : callable, optional
        Keeps all steps.
    """

    def __init__(
        self, steps: Mapping[str, Mark] | None = None, save: Callable[[Mapping[str, Mark]], None] | None = None
    ) -> None:
        self._steps: dict[str, Mark] = dict(steps or {})
        self._save = save

    def is_done(self, step: str) -> bool:
        """Whether a step had its answer."""
        return self._steps.get(step) == "done"

    def is_open(self, step: str) -> bool:
        """Whether a step may have been carried out, and nobody knows."""
        return self._steps.get(step) == "begun"

    def begin(self, step: str) -> None:
        """A request is about to be sent."""
        self._put(step, "begun")

    def finish(self, step: str) -> None:
        """Its answer is there."""
        self._put(step, "done")

    def forget(self, step: str) -> None:
        """It was certainly not carried out."""
        self._put(step, None)

    def _put(self, step: str, mark: Mark | None) -> None:
        if mark is None:
            self._steps.pop(step, None)
        else:
            self._steps[step] = mark
        if self._save is not None:
            self._save(dict(self._steps))
