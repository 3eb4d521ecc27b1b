"""NVIDIA's compiler for cards, which needs none."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path

from hitsieve.cards import Kernels

# -ftz is what CuPy adds.
OPTIONS = ("--std=c++17", "--fmad=false", "--device-int128", "-ftz=true")


def complaints(kernels: Kernels, architecture: str) -> str | None:
    """What it says against kernels; None where it is not installed."""
    compiler = _nvrtc()
    if compiler is None:
        return None
    program = ctypes.c_void_p()
    text = kernels.text.encode()
    assert compiler.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None) == 0
    options = [*OPTIONS, *(f"-D{define}" for define in kernels.defines), f"-arch={architecture}"]
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    code = compiler.nvrtcCompileProgram(program, len(options), given)
    size = ctypes.c_size_t()
    compiler.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    compiler.nvrtcGetProgramLog(program, log)
    said = log.value.decode()
    return said or (f"error {code}" if code else "")


def _nvrtc() -> ctypes.CDLL | None:
    try:
        spec = find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        spec = None
    folders = [Path(place) / "lib" for place in spec.submodule_search_locations or ()] if spec else []
    for path in (*(folder / "libnvrtc.so.12" for folder in folders), Path("libnvrtc.so.12")):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    return None
