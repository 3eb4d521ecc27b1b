"""How a card is used through CuPy, in front of a stand-in that has CuPy's calls and runs the kernels emulated."""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import hitsieve.cards
from emulatedcard import compiled
from hitsieve.cards import CardError, Kernels, OutOfMemoryError
from hitsieve.model import Run
from hitsieve.spots import Finder
from hitsieve.spots.gpu.kernels import kernels_for

from .cases import encode
from .test_gpu import IMAGE, SMALL, agree, assert_same
from .test_gpu_scan import by_cards, by_core, few, finder, run

__all__ = ["few", "finder", "run"]
DTYPE = "int16"
KERNELS = kernels_for(DTYPE)


class Array:
    """Memory on the card."""

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self.memory = memory
        self.nbytes = memory.nbytes
        self.data = SimpleNamespace(ptr=memory.ctypes.data)

    def __getitem__(self, some: slice) -> Array:
        return Array(self.memory[some])

    def set(self, data: npt.NDArray[np.uint8], stream: object) -> None:
        assert (data.dtype, data.shape) == (self.memory.dtype, self.memory.shape)
        self.memory[:] = data

    def get(self, stream: object, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        assert (out.dtype, out.shape) == (self.memory.dtype, self.memory.shape)
        out[:] = self.memory
        return out


class Cupy(ModuleType):
    """CuPy on a computer with two cards, the first of which somebody else has for himself.

    As in CuPy, a thread has a current card, which is the first to begin with, and memory that nobody holds stays in a
    pool until the pool is told to free it.
    """

    def __init__(self) -> None:
        super().__init__("cupy")
        self.current = 0
        self.held = 0
        self.pooled = 0
        self.pinned = 0
        self.headers: str | None = "include"
        self.compiled: list[str] = []
        self.kept = True
        self.launches = 0
        self.lanes = 32
        self.failure: Callable[[], BaseException] | None = None
        self.uint8 = np.uint8
        self.cuda = SimpleNamespace(
            Device=lambda number: SimpleNamespace(use=lambda: self._use(number)),
            Stream=self._stream,
            PinnedMemory=self._pinned,
            PinnedMemoryPointer=lambda memory, offset: memory,
            runtime=SimpleNamespace(hostAllocPortable=1, memGetInfo=lambda: (1 << 30, 1 << 34)),
        )

    def empty(self, n_bytes: int, dtype: type) -> Array:
        memory = np.full(n_bytes, 0xA5, dtype=dtype)
        self.held += n_bytes
        weakref.finalize(memory, self._to_pool, n_bytes)
        return Array(memory)

    def get_default_memory_pool(self) -> SimpleNamespace:
        def free() -> None:
            self.pooled = 0

        return SimpleNamespace(free_all_blocks=free, free_bytes=lambda: self.pooled)

    def RawModule(self, *, code: str, options: tuple[str, ...], backend: str) -> SimpleNamespace:  # noqa: N802 - as there
        assert "extern" in code
        assert f"-DPIXEL={DTYPE[0]}{DTYPE[3:]}" in options
        assert backend == "nvrtc"
        return SimpleNamespace(compile=self._compile, get_function=self._kernel)

    def _compile(self) -> None:
        self.compiled.append(os.environ.get("CUPY_CACHE_IN_MEMORY", ""))
        if not self.kept and self.compiled[-1] != "1":
            raise OSError(28, "No space left on device")

    def _kernel(self, name: str) -> Callable[..., None]:
        def launch(grid: tuple[int, int], block: tuple[int], args: tuple[Array]) -> None:
            self.launches += 1
            if self.failure is not None and self.launches > 20:
                raise self.failure()
            library = compiled(DTYPE, self.lanes)
            kernel = ctypes.cast(getattr(library, name), ctypes.c_void_p)
            library.launch(kernel, ctypes.c_void_p(args[0].data.ptr), grid[0] * block[0] // self.lanes, grid[1])

        return launch

    def _use(self, number: int) -> None:
        if number == 0:
            raise RuntimeError("cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable")
        self.current = number

    def _stream(self, *, non_blocking: bool) -> object:
        cupy, mine = self, self.current
        assert non_blocking

        class Stream:
            def __enter__(self) -> None:
                assert cupy.current == mine

            def __exit__(self, *_: object) -> None:
                pass

            def synchronize(self) -> None:
                pass

        return Stream()

    def _pinned(self, n_bytes: int, flags: int) -> npt.NDArray[np.uint8]:
        assert flags == 1
        memory = np.empty(n_bytes, dtype=np.uint8)
        self.pinned += n_bytes
        weakref.finalize(memory, self._unpinned, n_bytes)
        return memory

    def _unpinned(self, n_bytes: int) -> None:
        self.pinned -= n_bytes

    def _to_pool(self, n_bytes: int) -> None:
        self.held -= n_bytes
        self.pooled += n_bytes


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Cupy:
    stand_in = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    finds = ModuleType("cuda.pathfinder")
    finds.find_nvidia_header_directory = lambda name: stand_in.headers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finds)
    return stand_in


@pytest.fixture
def module(cupy: Cupy) -> ModuleType:
    """The module of cards, which has never seen another CuPy."""
    path = Path(hitsieve.cards.__file__).with_name("cupycard.py")
    spec = spec_from_file_location("cupycard_with_stand_in", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(module: ModuleType) -> Callable[[int, Kernels], Any]:
    """The class of cards."""
    kind: Callable[[int, Kernels], Any] = module.CupyCard
    return kind


def test_a_card_through_cupy(make: Callable[[int, Kernels], Any]) -> None:
    """Blocks, warps and arguments are what the kernels expect; the first card, which is busy, is left alone."""
    found = agree(make(1, KERNELS), DTYPE, SMALL, [encode(IMAGE, "bslz4")] * 2)
    assert found.n_spots.min() > 0


def test_a_busy_card_says_so(make: Callable[[int, Kernels], Any]) -> None:
    with pytest.raises(CardError, match="card 0: cudaErrorDevicesUnavailable"):
        make(0, KERNELS)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TypeError("unexpected keyword argument"), CardError),
        (AttributeError("module 'cupy' has no attribute 'cuda'"), CardError),
        (RuntimeError("cudaErrorIllegalAddress"), CardError),
        (MemoryError("Out of memory allocating 9 bytes"), OutOfMemoryError),
        (RuntimeError("cudaErrorMemoryAllocation: out of memory"), OutOfMemoryError),
        (RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"), OutOfMemoryError),
    ],
)
def test_whatever_fails_is_the_cards_failure(
    error: Exception,
    kind: type[CardError],
    make: Callable[[int, Kernels], Any],
    cupy: Cupy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = make(1, KERNELS)

    def empty(n_bytes: int, dtype: type) -> Array:
        raise error

    monkeypatch.setattr(cupy, "empty", empty)
    with pytest.raises(CardError, match="card 1: ") as caught:
        card.room(9)
    assert type(caught.value) is kind


def test_kernels_that_cannot_be_kept_are_used_all_the_same(
    make: Callable[[int, Kernels], Any], cupy: Cupy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "0")
    cupy.kept = False
    make(1, KERNELS)
    assert cupy.compiled == ["0", "1"]


def test_what_cupy_needs_to_compile(module: ModuleType, cupy: Cupy) -> None:
    assert module.lack() == ""
    cupy.headers = None
    assert module.lack() == "CuPy finds no headers of CUDA"


def test_memory_that_is_not_swapped_out_is_no_more_than_asked_for(
    make: Callable[[int, Kernels], Any], cupy: Cupy
) -> None:
    room = make(1, KERNELS).host_room(1_000_001)
    assert (len(room), cupy.pinned) == (1_000_001, 1_000_001)
    del room
    assert cupy.pinned == 0


@pytest.mark.parametrize("failure", [None, lambda: TypeError("as no emulation fails")])
def test_memory_is_given_back(
    failure: Callable[[], BaseException] | None,
    make: Callable[[int, Kernels], Any],
    cupy: Cupy,
    run: Run,
    finder: Finder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the end of a search, and where a card fails in the midst of it, nothing stays with CuPy."""
    cupy.failure = failure
    cupy.lanes = 1
    monkeypatch.setattr(make, "lanes", 1)
    images = range(12 if failure is None else 24)
    assert finder.ground.dtype == DTYPE
    found, _ = by_cards([lambda: make(1, KERNELS)], run, finder, images)
    assert_same(found, by_core(run, finder, images))
    assert cupy.launches > 11
    assert ("as no emulation fails" in caplog.text) == (failure is not None)
    assert (cupy.held, cupy.pooled, cupy.pinned) == (0, 0, 0)
