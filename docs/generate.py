"""Writes cli.md, settings.md, record.md, checks.md and summary.schema.json in reference/: python docs/generate.py."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path, PurePath
from typing import Any

from cyclopts import Argument
from pydantic import BaseModel

from hitsieve.catalogue import homes
from hitsieve.check import RULE_SETS, Place, Severity, rule_book
from hitsieve.check.rules import TYPES
from hitsieve.cli.commands import COMMANDS, HELP, PARAMETER, make_app, usage
from hitsieve.pipeline.watch import BeamlineSettings
from hitsieve.settings import RunSettings
from hitsieve.write import Summary

REFERENCE = Path(__file__).parent / "reference"
ROOMS = ("source", "spots", "index", "verdict", "write", "catalogue", "cluster", "cluster.jobs")

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
unit and name as above, or `/key` of the data set itself. What has a `/key` and can be searched by stands in the
`scientificMetadata` of the set of hits as well, under the name of the field, where [the search](search.md#in-scicat)
finds it. Lists are one text, joined by ", "; problems are on a line each. RO-Crate: property of the data set, its
files or its making (schema.org). DataCite: property of schema 4, as it follows from the crate.

| field | NXmx | SciCat | RO-Crate | DataCite |
| --- | --- | --- | --- | --- |"""

CHECKS = """# Rules of hitsieve check

Written by `docs/generate.py` from the tables of rules (`src/hitsieve/check/rules/`) and the
[definition](../../definitions/NXhit_finding.nxdl.xml) of hit information. See also
[how to check a file](../how-to/check-a-file.md), and
[what was found in measured files, and what other programs say](../explanation/check.md).

A place is written with the usual names of groups; groups are found by their NeXus class, whatever their names. `@`
is an attribute. Where a rule does not hold there is an *error* (required; exit code 5), a *warning* (recommended) or
a *note*. A field that is there but is of the wrong type, says nothing, or has unknown units is as bad as one that is
absent, and at least a warning; fields that need not be there are checked where they are."""


def main() -> None:
    """Write the pages and the schema."""
    (REFERENCE / "cli.md").write_text(cli_page(), encoding="utf-8")
    (REFERENCE / "settings.md").write_text(settings_page(), encoding="utf-8")
    (REFERENCE / "record.md").write_text(record_page(), encoding="utf-8")
    (REFERENCE / "checks.md").write_text(checks_page(), encoding="utf-8")
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
    parts += [_row("workers", defaults), _row("engine", defaults), ""]
    for room in ROOMS:
        settings: BaseModel = attrgetter(room)(defaults)
        parts += [f"## [{room}]\n", f"{_flat(type(settings).__doc__)}\n"]
        parts += ["| setting | default | meaning |\n| --- | --- | --- |"]
        parts += [_row(name, settings) for name in type(settings).model_fields if f"{room}.{name}" not in ROOMS]
        parts += [""]
    return "\n".join(parts + _beamline())


def _beamline() -> list[str]:
    """What `hitsieve watch` has beyond `hitsieve run`."""
    defaults = BeamlineSettings()
    parts = [
        "## Of a beamline\n",
        "`hitsieve watch FOLDER --config FILE.toml` reads all of the above, but for `write.output` and",
        "`write.overwrite`, and these ([how to](../how-to/run-a-beamline.md)):\n",
        "| setting | default | meaning |\n| --- | --- | --- |",
        _row("facility", defaults),
        "",
    ]
    for room in ("watch", "scicat"):
        settings: BaseModel = getattr(defaults, room)
        parts += [f"## [{room}]\n", f"{_flat(type(settings).__doc__)}\n"]
        parts += ["| setting | default | meaning |\n| --- | --- | --- |"]
        parts += [_row(name, settings) for name in type(settings).model_fields]
        parts += [""]
    return parts


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


def checks_page() -> str:
    """Every rule of every set: places, then what must hold between them."""
    book = rule_book()
    parts = [CHECKS]
    for name in RULE_SETS:
        parts += [f"\n## {name}: {book.titles[name]}\n", f"Source: {book.sources[name]}.\n"]
        if name == "gold":
            parts += ["The checks of `nxmx` between places are those of `gold`, too.\n"]
        parts += ["| place | absent | type, units | meaning |\n| --- | --- | --- | --- |"]
        parts += [_place_row(place, name) for place in book.of((name,))]
        checks = [check for check in book.checks.values() if check.rules == name]
        if checks:
            parts += ["\n| check | severity | what must hold | mend | source |\n| --- | --- | --- | --- | --- |"]
        for check in checks:
            cells = (f"`{check.id}`", check.severity.name.lower(), check.what, check.mend, check.source)
            parts.append(f"| {' | '.join(_flat(cell) for cell in cells)} |")
    return "\n".join(parts) + "\n"


def _place_row(place: Place, name: str) -> str:
    severity: Severity | None = place.absent[name]
    absent = f"{severity.name.lower()} ({place.need[name]})" if severity is not None else ""
    kind = TYPES.get(place.type, "group") + (f", {place.units.replace('_', ' ')}" if place.units else "")
    if place.values:
        kind += f": {', '.join(place.values)}"
    return f"| `{place.place}` | {absent} | {_flat(kind)} | {_flat(place.what)} |"


def sample() -> str:
    """All defaults as TOML."""
    defaults = RunSettings()
    lines = [f"workers = {_toml(defaults.workers)}", f"engine = {_toml(defaults.engine)}"]
    for room in ROOMS:
        lines += ["", f"[{room}]"]
        for name, value in attrgetter(room)(defaults):
            if f"{room}.{name}" not in ROOMS:
                lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _row(name: str, settings: BaseModel) -> str:
    field = type(settings).model_fields[name]
    return f"| `{name}` | {_default(getattr(settings, name))} | {_flat(field.description)} |"


def _place(argument: Argument) -> str:
    name = argument.name.lstrip("-").upper()
    return f"{name}..." if argument.field_info.name in ("paths", "addresses", "runs") else name


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
