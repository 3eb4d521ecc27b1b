"""What of the metadata must agree with the images, and with each other."""

from __future__ import annotations

import h5py
import numpy as np

from hitsieve.check.images import Images
from hitsieve.check.reading import Member, member, names_in, numbers, shape_of, text_attribute, text_of, value_of
from hitsieve.check.rules import units
from hitsieve.check.stored import by
from hitsieve.check.subject import Subject, of_class
from hitsieve.check.times import moment_of

_SAME = 0.01
"""Share by which two statements of a pixel size may differ."""
_PER_IMAGE = ("entry/instrument/beam/incident_wavelength", "entry/instrument/detector/count_time")


def check_shapes(subject: Subject, images: Images | None) -> None:
    """Compare mask, flat field, modules, counts and times with the images and with each other."""
    for detector in subject.groups("entry/instrument/detector"):
        if images is not None:
            for name in ("pixel_mask", "flatfield"):
                _check_map(subject, detector, name, images)
            _check_counts(subject, detector, images)
        modules = of_class(detector, "module", subject.book.classes["module"])
        for module in modules:
            _check_module(subject, module, images, alone=len(modules) == 1)
        _check_pixel_size(subject, detector, modules)
    if images is not None:
        _check_rows(subject, images)
    _check_times(subject)


def _check_map(subject: Subject, detector: h5py.Group, name: str, images: Images) -> None:
    item = member(detector, name)
    shape = shape_of(item) if isinstance(item, h5py.Dataset) else None
    place = f"{detector.name}/{name}"
    if shape is None or place in subject.told:
        return
    if shape != images.shape and shape[1:] != images.shape:
        subject.find("shape", place, f"is of {by(shape)} pixels, the images of {by(images.shape)}")


def _check_counts(subject: Subject, detector: h5py.Group, images: Images) -> None:
    specific = member(detector, "detectorSpecific")
    if not isinstance(specific, h5py.Group):
        return
    stated = [_whole(member(specific, name)) for name in ("nimages", "ntrigger")]
    # Of single triggers DECTRIS' nimages counts the images of each.
    if stated[0] is not None and images.n >= 0:
        n = stated[0] * (stated[1] or 1)
        if n not in (images.n, 0) and stated[0] != images.n:
            subject.find("count", f"{specific.name}/nimages", f"says {n:,} images; there are {images.n:,}")
    for name, axis in (("x_pixels_in_detector", -1), ("y_pixels_in_detector", -2)):
        size = _whole(member(specific, name))
        if size is not None and len(images.shape) == 2 and size != images.shape[axis]:
            told = f"says {size:,} pixels; the images have {images.shape[axis]:,}"
            subject.find("shape", f"{specific.name}/{name}", told)


def _check_module(subject: Subject, module: h5py.Group, images: Images | None, *, alone: bool) -> None:
    origin, size = (_wholes(member(module, name)) for name in ("data_origin", "data_size"))
    place = f"{module.name}/data_size"
    if origin is None or size is None or place in subject.told or f"{module.name}/data_origin" in subject.told:
        return
    if len(origin) != len(size):
        subject.find("shape", place, f"has {len(size)} values, data_origin {len(origin)}")
        return
    if any(n < 0 for n in origin) or any(n <= 0 for n in size):
        subject.find("shape", place, f"with data_origin {list(origin)} is {list(size)}, which is no part of an image")
        return
    if images is None or len(images.shape) != len(size):
        if images is not None:
            told = f"has {len(size)} values, an image {len(images.shape)} dimensions"
            subject.find("shape", place, told)
        return
    if any(first + n > most for first, n, most in zip(origin, size, images.shape, strict=True)):
        told = f"{by(size)} from {list(origin)} does not fit in images of {by(images.shape)}"
        subject.find("shape", place, told)
    elif alone and size != images.shape:
        subject.find("cover", place, f"is {by(size)}, the image {by(images.shape)}")


def _check_pixel_size(subject: Subject, detector: h5py.Group, modules: list[h5py.Group]) -> None:
    for name, direction in (("x_pixel_size", "fast_pixel_direction"), ("y_pixel_size", "slow_pixel_direction")):
        stated = _length(member(detector, name))
        for module in modules[:1]:
            step = _length(member(module, direction))
            if stated and step and abs(step / stated - 1) > _SAME:
                told = f"is {stated * 1e6:.5g} um, {module.name}/{direction} {step * 1e6:.5g} um"
                subject.find("pixel-size", f"{detector.name}/{name}", told)


def _check_rows(subject: Subject, images: Images) -> None:
    """What has one value an image has as many as there are images."""
    if images.n < 0:
        return
    for place in _PER_IMAGE:
        owner, _, name = place.rpartition("/")
        for group in subject.groups(owner):
            item = member(group, name)
            shape = shape_of(item) if isinstance(item, h5py.Dataset) else None
            if not shape or shape[0] in (0, 1, images.n) or len(shape) > 1:
                continue
            # Several wavelengths with weights are a spectrum.
            if any(name in group for name in ("incident_wavelength_weights", "incident_wavelength_weight")):
                continue
            subject.find("count", f"{group.name}/{name}", f"has {shape[0]:,} values, for {images.n:,} images")
    for group in subject.groups("entry/sample"):
        for axes in of_class(group, "transformations", "NXtransformations"):
            for name in names_in(axes):
                item = member(axes, name)
                shape = shape_of(item) if isinstance(item, h5py.Dataset) else None
                if shape and shape[0] not in (1, images.n) and images.n:
                    told = f"has {shape[0]:,} values, for {images.n:,} images"
                    subject.find("count", f"{axes.name}/{name}", told)


def _check_times(subject: Subject) -> None:
    found = {}
    for name in ("start_time", "end_time", "end_time_estimated"):
        item = member(subject.entry, name)
        text = text_of(value_of(item)) if isinstance(item, h5py.Dataset) else None
        moment = moment_of(text) if text else None
        if moment is not None:
            found[name] = moment
    start = found.pop("start_time", None)
    for name, end in found.items():
        if start is not None and (start.tzinfo is None) == (end.tzinfo is None) and end < start:
            subject.find("time", f"{subject.entry.name}/{name}", f"is before start_time ({end} < {start})")


def _length(item: Member) -> float | None:
    """A length in metres; None where a field says none."""
    if not isinstance(item, h5py.Dataset):
        return None
    factor = units()["length"].get(text_attribute(item, "units").lower())
    values = numbers(value_of(item))
    if factor is None or values is None or len(values) == 0 or not np.isfinite(values[0]) or values[0] <= 0:
        return None
    return float(values[0]) * factor


def _whole(item: Member) -> int | None:
    values = _wholes(item)
    return values[0] if values is not None and len(values) == 1 else None


def _wholes(item: Member) -> tuple[int, ...] | None:
    """Whole numbers of a small field; None where it has none."""
    if not isinstance(item, h5py.Dataset):
        return None
    values = numbers(value_of(item))
    if values is None or not np.isfinite(values).all() or len(values) > 3 or np.abs(values).max(initial=0) > 1e15:
        return None
    return tuple(int(value) for value in values)
