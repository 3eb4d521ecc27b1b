"""Settings from a TOML file and from flags: the flags win."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from hitsieve.errors import SettingsError
from hitsieve.settings import RunSettings

if TYPE_CHECKING:
    from hitsieve.pipeline.watch import BeamlineSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = TypeVar("Model", bound=BaseModel)


def read_settings(
    config: Path | None, flags: Mapping[str, BaseModel], workers: int | None = None, engine: str | None = None
) -> RunSettings:
    """Join a settings file and flags.

    Parameters
    ----------
    config
        TOML file with a table per room (source, spots, index, verdict, write), or None.
    flags
        By room, a settings model with only those fields set that the user gave.
    workers
        Worker threads, if given.
    engine
        Who finds the spots, if given.

    Returns
    -------
    RunSettings

    Raises
    ------
    SettingsError
        The file cannot be read, or it has an unknown key or a wrong value.
    """
    values = _read_toml(config) if config else {}
    if config:
        _validated(RunSettings, values, config)
    for room, given in flags.items():
        values[room] = {**values.get(room, {}), **given.model_dump(exclude_unset=True)}
    if workers is not None:
        values["workers"] = workers
    if engine is not None:
        values["engine"] = engine
    return _validated(RunSettings, values, None)


def read_beamline(config: Path | None) -> BeamlineSettings:
    """Settings of `hitsieve watch`: a file over the ways of the facility that it names.

    Raises
    ------
    SettingsError
        The file cannot be read, or it has an unknown key or a wrong value; or no such facility is known.
    """
    from hitsieve.pipeline.watch import BeamlineSettings, with_facility

    values = with_facility(_read_toml(config) if config else {})
    return _validated(BeamlineSettings, values, config)


def flag_errors(error: ValidationError) -> str:
    """One line for values that a settings model refuses, naming the flags."""
    return "; ".join(_flag_error(item["loc"], item["type"], item["msg"], item["input"]) for item in error.errors())


def _flag_error(loc: tuple[int | str, ...], kind: str, msg: str, value: object) -> str:
    # What a model says of several of its settings names them itself.
    names = [] if isinstance(value, dict) else [part for part in loc if isinstance(part, str)]
    flag = f"--{names[-1].replace('_', '-')}: " if names else ""
    return flag + _what(kind, msg, value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        msg = f"settings file {path} cannot be read: {reason}"
        raise SettingsError(msg, mend="name a TOML file that exists and is readable") from error
    except tomllib.TOMLDecodeError as error:
        msg = f"settings file {path} is not TOML: {error}"
        raise SettingsError(msg, mend="see docs/reference/settings.md for a sample") from error


def _validated(model: type[Model], values: dict[str, Any], path: Path | None) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        if path is None:
            raise SettingsError(flag_errors(error)) from error
        known = _keys(model)
        lines = [_key_error(item["loc"], item["type"], (item["msg"], item["input"]), known) for item in error.errors()]
        msg = f"settings file {path}: " + "; ".join(lines)
        raise SettingsError(msg, mend="see docs/reference/settings.md") from error


def _key_error(loc: tuple[int | str, ...], kind: str, said: tuple[str, object], known: list[str]) -> str:
    """Say what is wrong with one key of the file, with the nearest known key when it is unknown."""
    key = ".".join(str(part) for part in loc)
    if kind != "extra_forbidden":
        what = _what(kind, *said)
        return f"{key}: {what}" if key else what
    near = _nearest(str(loc[-1]), ".".join(map(str, loc[:-1])), known)
    here = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == key.rpartition(".")[0]]
    return f"unknown key {key}" + (f", did you mean {near}?" if near else f" (known: {', '.join(here)})")


def _nearest(name: str, room: str, known: list[str]) -> str | None:
    """Known key whose last part is most like `name`, of all rooms; of equals the one in `room`."""
    like = [(difflib.SequenceMatcher(None, name, key.rpartition(".")[2]).ratio(), key) for key in known]
    near = [(ratio, key.rpartition(".")[0] == room, key) for ratio, key in like if ratio >= 0.6]
    return max(near)[2] if near else None


def _keys(model: type[BaseModel], room: str = "") -> list[str]:
    """All keys of a settings file, rooms with their fields: verdict, verdict.min_spots."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(room + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{room}{name}.")
    return keys


def _what(kind: str, msg: str, value: object) -> str:
    """Say what a value should be; the models' own messages name the value already."""
    if kind == "value_error":
        return msg.removeprefix("Value error, ")
    return f"{msg[:1].lower()}{msg[1:]}, not {value!r}"
