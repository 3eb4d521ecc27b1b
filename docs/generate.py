"""Writes reference/cli.md, settings.md, record.md and summary.schema.json from the code: python docs/generate.py."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from cyclopts import Argument
from pydantic import BaseModel

from hitsieve.catalogue import homes
from hitsieve.cli.commands import COMMANDS, HELP, PARAMETER, make_app, usage
from hitsieve.settings import RunSettings
from hitsieve.write import Summary

REFERENCE = Path(__file__).parent / "reference"
ROOMS = ("source", "spots", "index", "verdict", "write", "catalogue")

RECORD_FIELDS = """# The record of a run

Written by `docs/generate.py` from the code. What is known of a run as a data set is one flat record, made
from its summary and its files (`hitsieve.pipeline.record.record_of`). Every catalogue is written from it, by
the second table. What is not known is absent everywhere.

## Fields

The name of the field is the name to [search](search.md) by, and the column of the local catalogue. Fields of
kind *whole* are more than a number, words or a time, and stand in the whole record only.

| field | name | kind | unit | meaning |
| --- | --- | --- | --- | --- |"""
RECORD_HOMES = """
## Homes

NXmx: place in `<stem>_hits.h5` (and, but for the audit sample, in `<stem>_annotated.h5`); `[k]` is one number
of several. SciCat: a flat key of `scientificMetadata`, `{"value": ..., "unit": ..., "human_name": ...}` with
unit and name as above, or `/key` of the data set itself. RO-Crate: property of the data set, its files or its
making (schema.org). DataCite: property of schema 4, as it follows from the crate.

| field | NXmx | SciCat | RO-Crate | DataCite |
| --- | --- | --- | --- | --- |"""


def main() -> None:
    """Write the pages and the schema."""
    (REFERENCE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (REFERENCE / "settings.md").write_text(settings_page(), encoding="utf-8")
    (REFERENCE / "record.md").write_text(record_page(), encoding="utf-8")
    schema = json.dumps(Summary.model_json_schema(mode="serialization"), indent=2, ensure_ascii=False)
    (REFERENCE / "summary.schema.json").write_text(schema + "\n", encoding="utf-8")


def cli_page() -> str:
    """Every command with its arguments and flags."""
    parts = [
        "# Command line\n",
        "Written by `docs/generate.py` from the code; `hitsieve COMMAND --help` says the same.\n",
        HELP.split("\n\n", maxsplit=1)[0] + "\n",
        "Exit codes: see [exit codes](exit-codes.md). `hitsieve --version` prints the version.\n",
    ]
    app = make_app()
    for name, text in COMMANDS.items():
        collection = app[name].assemble_argument_collection(default_parameter=PARAMETER, parse_docstring=True)
        arguments = [argument for argument in collection if argument.parse and argument.show]
        positional = [a for a in arguments if a.index is not None]
        flags = [a for a in arguments if a.index is None]
        parts += [f"## hitsieve {name}\n", f"{text}\n", f"```\n{usage(name)}\n```\n"]
        if positional:
            parts += ["| argument | meaning |\n| --- | --- |"]
            parts += [f"| `{_place(a)}` | {_help(a)} |" for a in positional]
            parts += [""]
        groups: dict[str, list[Argument]] = {}
        for flag in flags:
            groups.setdefault(flag.parameter.group[0].name, []).append(flag)  # type: ignore[index,union-attr]
        for group, members in groups.items():
            title = "" if group == "Parameters" else f"{group}\n\n"
            parts += [f"{title}| flag | meaning | default |\n| --- | --- | --- |"]
            parts += [f"| {_names(a)} | {_help(a)} | {_default(a.field_info.default)} |" for a in members]
            parts += [""]
    return "\n".join(parts)


def settings_page() -> str:
    """Every setting, and a sample file with the defaults."""
    parts = [
        "# Settings\n",
        "Written by `docs/generate.py` from the code. `hitsieve run --config FILE.toml` reads a table per room; a flag",
        "of the same name (`min_spots` is `--min-spots`) wins over the file. Unknown names are errors. Relative paths",
        "are relative to the working directory.\n",
        "## Sample with the defaults\n",
        "Settings that are unset by default are comments.\n",
        f"```toml\n{sample()}```\n",
    ]
    defaults = RunSettings()
    parts += ["## Top level\n", "| setting | default | meaning |\n| --- | --- | --- |"]
    parts += [_row("workers", defaults), ""]
    for room in ROOMS:
        settings: BaseModel = getattr(defaults, room)
        parts += [f"## [{room}]\n", f"{_flat(type(settings).__doc__)}\n"]
        parts += ["| setting | default | meaning |\n| --- | --- | --- |"]
        parts += [_row(name, settings) for name in type(settings).model_fields]
        parts += [""]
    return "\n".join(parts)


def record_page() -> str:
    """Every field of the record of a run, and where each home has it."""
    parts = [RECORD_FIELDS]
    for home in homes():
        about = home.about
        cells = (f"`{home.field}`", about.human, home.kind or "whole", about.unit, _flat(home.meaning))
        parts.append(f"| {' | '.join(cells)} |")
    parts.append(RECORD_HOMES)
    for home in homes():
        places = (_code(home.about.nxmx), _code(home.scicat), _code(home.about.crate))
        parts.append(f"| `{home.field}` | {' | '.join(places)} | {home.datacite} |")
    return "\n".join(parts) + "\n"


def sample() -> str:
    """All defaults as TOML."""
    defaults = RunSettings()
    lines = [f"workers = {_toml(defaults.workers)}"]
    for room in ROOMS:
        lines += ["", f"[{room}]"]
        for name, value in getattr(defaults, room):
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _row(name: str, settings: BaseModel) -> str:
    field = type(settings).model_fields[name]
    return f"| `{name}` | {_default(getattr(settings, name))} | {_flat(field.description)} |"


def _place(argument: Argument) -> str:
    name = argument.name.lstrip("-").upper()
    return f"{name}..." if argument.field_info.name in ("paths", "addresses") else name


def _names(argument: Argument) -> str:
    return ", ".join(f"`{name}`" for name in argument.names)


def _help(argument: Argument) -> str:
    return _flat(argument.parameter.help)


def _flat(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _default(value: Any) -> str:
    if value is None or value is False or value in ((), ""):
        return "" if value is not False else "no"
    if value is True:
        return "yes"
    if isinstance(value, tuple):
        return f"`{' '.join(str(part) for part in value)}`"
    return f"`{value}`" if isinstance(value, str | int | float | PurePath) else ""


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too.
    return json.dumps(value, default=str)


if __name__ == "__main__":
    main()
