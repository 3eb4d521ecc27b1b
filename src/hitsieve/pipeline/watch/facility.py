"""The ways of a facility as data: a settings file in this package, over which that of the beamline goes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hitsieve.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT = "generic"


def facility_names() -> tuple[str, ...]:
    """Names of the facilities that are known."""
    files = resources.files(__package__).joinpath("facilities").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def with_facility(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a beamline over those of the facility that they name.

    Parameters
    ----------
    values : mapping
        As read from a settings file.

    Raises
    ------
    SettingsError
        No such facility is known.
    """
    name = values.get("facility", DEFAULT)
    if name not in facility_names():
        mend = f"known are {', '.join(facility_names())}; without `facility` nothing is taken for granted"
        raise SettingsError(f"no facility {name!r} is known", mend=mend)
    file = resources.files(__package__).joinpath("facilities", f"{name}.toml")
    return _over(tomllib.loads(file.read_text(encoding="utf-8")), values)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            joined[name] = _over(below[name], above[name])
    return joined
