"""One detector geometry for many lattices, each with its own rotation and strain, by robust least squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CUT = 4.685
"""Biweight: spots off by more than so many standard deviations, in place and excitation, do not count."""
ROUNDS = 15
SMALL = np.array([1e-3, 1e-3, 1e-7])
"""Steps (pixels, pixels, metres) below which the solution is found."""

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_OWN = 3 + len(_PAIRS)
"""Parameters of a lattice: a rotation vector, and the strains xx, yy, zz, yz, xz, xy."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Detector and beam, as far as predictions need them."""

    origin: Floats
    """Shape (panels, 3): corner of each panel (m)."""
    fast: Floats
    """Shape (panels, 3): step from pixel to pixel (m)."""
    slow: Floats
    first: Floats
    """Shape (panels, 2): (x, y) of the panel's first pixel in the image."""
    moves: Floats
    """Rows: how the detector moves (m) for a beam centre one pixel further in x, in y, and for 1 m more distance."""
    beam: Floats
    """Unit vector."""


@dataclass(slots=True)
class Block:
    """Lattices that are solved together, the spots of each filled up to n; A is refined in place."""

    A: Floats
    """Shape (m, 3, 3)."""
    reference: Floats
    """Shape (3, 3): A of the cell in some orientation."""
    wave_number: Floats
    """Shape (m,), 1/angstrom."""
    observed: Floats
    """Shape (m, n, 2): x, y (pixels)."""
    panel: npt.NDArray[np.int64]
    """Shape (m, n)."""
    indexed: npt.NDArray[np.bool_]
    """Shape (m, n): the spots that the lattice was found to index."""
    real: npt.NDArray[np.bool_]
    """Shape (m, n): those, and the spots that no lattice indexes, some of which a better geometry does; not filler."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The geometry that fits best."""

    moves: Floats
    """Shift x, shift y (pixels), distance (m); 0 where it was not free."""
    errors: Floats
    """Their standard errors, from the scatter between lattices; 0 where it was not free."""
    residual: float
    """Median distance between the indexed spots and their predictions (pixels)."""


@dataclass(frozen=True, slots=True)
class _Prediction:
    """Where the spots of a block should be, and how that changes."""

    off: Floats
    """Shape (m, n, 3): observed less predicted x, y (pixels), and minus the excitation error (1/angstrom)."""
    by_q: Floats
    """Shape (m, n, 3, 3): change of x, y and excitation error with q."""
    by_moves: Floats
    """Shape (m, n, 3, 3): with the moves of the detector."""
    q: Floats
    """Shape (m, n, 3)."""


def solve(blocks: Sequence[Block], frame: Frame, start: Floats, free: Sequence[int], strain: float) -> Solution:
    """Gauss-Newton with biweights over the moves that are free; the blocks' A become those that fit best.

    `strain` is the standard deviation of the strain of a lattice against the cell.
    """
    moves, errors, chosen = start.copy(), np.zeros(3), list(free)
    predicted = [_predict(block, frame, moves) for block in blocks]
    residual = _residual(blocks, predicted)
    for _ in range(ROUNDS):
        scale, before = _scales(blocks, predicted, residual), residual
        parts = [_Reduced(block, seen, scale, chosen, strain) for block, seen in zip(blocks, predicted, strict=True)]
        square = np.sum([part.square for part in parts], axis=0)
        slopes = np.concatenate([part.slopes for part in parts])
        step = np.linalg.solve(square, slopes.sum(axis=0))
        moves[chosen] += step
        for part, block in zip(parts, blocks, strict=True):
            part.refine(block, step)
        predicted = [_predict(block, frame, moves) for block in blocks]
        residual = _residual(blocks, predicted)
        spread = np.linalg.solve(square, slopes.T)
        errors[chosen] = np.sqrt((spread**2).sum(axis=1) * len(slopes) / (len(slopes) - len(chosen)))
        if np.all(np.abs(step) < SMALL[chosen]) and abs(residual - before) < 1e-3 * before:
            break
    return Solution(moves, errors, residual)


def _predict(block: Block, frame: Frame, moves: Floats) -> _Prediction:
    """The nearest reflection of each spot, and its ray along s0 + q cut with the plane of the panel."""
    fast, slow = frame.fast[block.panel], frame.slow[block.panel]
    origin = frame.origin[block.panel] + moves @ frame.moves
    on_panel = block.observed - frame.first[block.panel]
    wave_number = block.wave_number[:, None, None]
    seen = origin + on_panel[..., :1] * fast + on_panel[..., 1:] * slow
    seen = wave_number * (seen / np.linalg.norm(seen, axis=-1, keepdims=True) - frame.beam)
    hkl = np.round(np.einsum("mij,mnj->mni", np.linalg.inv(block.A), seen))
    q = np.einsum("mij,mnj->mni", block.A, hkl)
    ray = q + wave_number * frame.beam
    length = np.linalg.norm(ray, axis=-1, keepdims=True)
    normal = np.cross(fast, slow)
    # Dual vectors of the plane: a position less the origin, times them, is in pixels.
    square = (normal**2).sum(-1, keepdims=True)
    dual = np.stack([np.cross(slow, normal) / square, np.cross(normal, fast) / square], axis=-2)
    towards = (normal * ray).sum(-1, keepdims=True)
    reach = (normal * origin).sum(-1, keepdims=True) / towards
    place = np.einsum("mnki,mni->mnk", dual, reach * ray - origin)
    along = np.einsum("mnki,mni->mnk", dual, ray)
    tilt = along[..., None] * (normal / towards)[..., None, :]
    by_moves = np.zeros((*q.shape, 3))
    by_moves[..., :2, :] = (tilt - dual) @ frame.moves.T
    return _Prediction(
        off=np.concatenate([on_panel - place, wave_number - length], axis=-1),
        by_q=np.concatenate([reach[..., None] * (dual - tilt), (ray / length)[..., None, :]], axis=-2),
        by_moves=by_moves,
        q=q,
    )


class _Reduced:
    """Normal equations of a block for the moves, its lattices' own parameters eliminated."""

    def __init__(self, block: Block, predicted: _Prediction, scale: Floats, chosen: list[int], strain: float) -> None:
        m = len(block.A)
        own = _by_own(predicted).reshape(m, -1, _OWN)
        common = predicted.by_moves[..., chosen].reshape(m, own.shape[1], len(chosen))
        apart = ((predicted.off / scale) ** 2).sum(axis=-1)
        counts = block.real * np.clip(1 - apart / CUT**2, 0, None) ** 2
        weight = (counts[..., None] / scale**2).reshape(m, -1, 1)
        off = predicted.off.reshape(m, -1, 1)
        weighted = np.swapaxes(own * weight, 1, 2)
        inner, outer, slope = weighted @ own, weighted @ common, weighted @ off
        # The restraint of the strain so far.
        so_far = _strain(block)
        for place, (i, j) in enumerate(_PAIRS, start=3):
            counted = (1 if i == j else 2) / strain**2
            inner[:, place, place] += counted
            slope[:, place, 0] -= counted * so_far[:, i, j]
        # So weak a restraint of the rotation (0.1 rad) is felt only where no spot counts.
        inner[:, range(3), range(3)] += 100.0
        self._by_common, self._alone = np.linalg.solve(inner, outer), np.linalg.solve(inner, slope)[..., 0]
        crossed = np.swapaxes(outer, 1, 2)
        across = np.swapaxes(common * weight, 1, 2)
        self.square = (across @ common - crossed @ self._by_common).sum(axis=0)
        """Shape (free, free)."""
        self.slopes = (across @ off)[..., 0] - (crossed @ self._alone[..., None])[..., 0]
        """Shape (m, free): what each lattice wants."""

    def refine(self, block: Block, step: Floats) -> None:
        """Turn and strain the lattices as the moves' step leaves them to be."""
        change = self._alone - self._by_common @ step
        x, y, z = change[:, :3].T
        map_ = np.zeros_like(block.A)
        map_[:, [2, 0, 1], [1, 2, 0]] = np.stack([x, y, z], axis=1)
        map_ -= np.swapaxes(map_, 1, 2)
        for place, (i, j) in enumerate(_PAIRS, start=3):
            map_[:, i, j] += change[:, place]
            map_[:, j, i] += change[:, place] * (i != j)
        block.A += map_ @ block.A


def _by_own(predicted: _Prediction) -> Floats:
    """Change of x, y and excitation error with the rotation and strain of the lattice, shape (m, n, 3, 9)."""
    by_q, q = predicted.by_q, predicted.q[..., None, :]
    columns = [np.cross(q, by_q)]
    for i, j in _PAIRS:
        change = by_q[..., i] * q[..., j]
        if i != j:
            change = change + by_q[..., j] * q[..., i]
        columns.append(change[..., None])
    return np.concatenate(columns, axis=-1)


def _strain(block: Block) -> Floats:
    """Strain of each lattice against the cell, in the frame of the laboratory, shape (m, 3, 3)."""
    u, stretch, _ = np.linalg.svd(block.A @ np.linalg.inv(block.reference))
    strain: Floats = (u * stretch[:, None, :]) @ np.swapaxes(u, 1, 2) - np.eye(3)
    return strain


def _scales(blocks: Sequence[Block], predicted: Sequence[_Prediction], residual: float) -> Floats:
    """Standard deviations of x, y (pixels) and of the excitation error (1/angstrom), from medians of indexed spots."""
    excitation = [np.abs(seen.off[..., 2])[block.indexed] for block, seen in zip(blocks, predicted, strict=True)]
    # The median of a distance in two dimensions is 1.1774 standard deviations of each.
    place = max(residual / 1.1774, 0.01)
    return np.array([place, place, max(1.4826 * float(np.median(np.concatenate(excitation))), 1e-6)])


def _residual(blocks: Sequence[Block], predicted: Sequence[_Prediction]) -> float:
    """Median distance between the indexed spots and their predictions (pixels)."""
    pairs = zip(blocks, predicted, strict=True)
    distances = [np.linalg.norm(seen.off[block.indexed][:, :2], axis=1) for block, seen in pairs]
    return float(np.median(np.concatenate(distances)))
