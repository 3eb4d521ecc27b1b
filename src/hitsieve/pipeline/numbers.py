"""The account of an image as data."""

from __future__ import annotations

import math
from typing import Any

from hitsieve.model import SpotFlag
from hitsieve.pipeline.account import Account, Rejected
from hitsieve.pipeline.words import near


def numbers(account: Account) -> dict[str, Any]:
    """Give the facts as data for JSON; what is unknown is None."""
    results = account.results
    found: dict[str, Any] = {
        "run": account.stem,
        "image": account.image,
        "hit": account.hit,
        "hits_file": None if account.hit is None else account.hits_file,
        "state": account.state.name.lower(),
        "reason": results.reasons.get(account.image),
        "original": account.place or None,
        "rule": account.rule.model_dump(mode="json"),
        "pump": account.pump,
        "segment": None if account.segment is None else account.segment.model_dump(mode="json"),
        "picture": None if account.picture is None else str(account.picture),
    }
    if not account.searched:
        return found
    again = account.again
    return found | {
        "near": near(account),
        "n_strong": int(results.n_strong[0]),
        "n_spots": int(results.n_spots[0]),
        "n_spots_kept": len(results.spots),
        "n_spots_counted": account.counted,
        "n_spots_ice": int(results.n_spots_ice[0]),
        "n_spots_out_of_range": account.flagged(SpotFlag.OUT_OF_RANGE),
        "n_saturated": int(results.n_saturated[0]),
        "max_count": int(results.max_count[0]),
        "background": _known(float(results.background[0])),
        "background_median": account.background_median,
        "resolution": _known(float(results.resolution[0])),
        "lattices": None if account.n_lattices < 0 else _lattices(account),
        "rejected": None if again is None else _rejected(again.rejected),
        "differs": None if again is None else again.differs,
    }


def _lattices(account: Account) -> list[dict[str, Any]]:
    lattices = account.results.lattices
    return [
        {
            "cell": lattices.cell[i].tolist(),
            "A": lattices.A[i].tolist(),
            "n_indexed": int(lattices.n_indexed[i]),
            "n_indexed_counted": account.indexed_and_counted(i),
            "residual": float(lattices.residual[i]),
            "chance": float(lattices.chance[i]),
        }
        for i in range(len(lattices))
    ]


def _rejected(rejected: Rejected) -> dict[str, Any]:
    weak_snr = None if rejected.weak_snr is None else list(rejected.weak_snr)
    return {"small": rejected.small, "large": rejected.large, "weak": rejected.weak, "weak_snr": weak_snr}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
