"""What a launch is told, as the kernels' own text lays it out."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

Numbers = dict[str, int | float]


@cache
def job_fields(text: str) -> dict[str, bool]:
    """Fields of a job in the order of the kernels' text; whether each is a floating-point number."""
    body = re.search(r"struct Job \{(.*?)\n\};", text, re.DOTALL)
    if body is None:
        raise ValueError("the kernels have no job")
    lines = re.findall(r"^    ([^/\n]*?)(\w+);$", body[1], re.MULTILINE)
    return {name: kind.strip() == "double" for kind, name in lines}


def packed_job(text: str, values: Numbers) -> npt.NDArray[np.uint8]:
    """The bytes of a job of the kernels with this text: eight for each field; those not given are zero."""
    fields = job_fields(text)
    unknown = values.keys() - fields.keys()
    if unknown:
        raise ValueError(f"a job has no {', '.join(sorted(unknown))}")
    job = np.zeros(len(fields), dtype=np.int64)
    for i, (name, is_float) in enumerate(fields.items()):
        if name in values:
            job[i] = np.float64(values[name]).view(np.int64) if is_float else int(values[name])
    return job.view(np.uint8)
