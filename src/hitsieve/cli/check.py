"""`hitsieve check`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError, VerificationError

if TYPE_CHECKING:
    from hitsieve.check import Checked, Finding
    from hitsieve.pipeline.check import Completed

FIXING = Group("Completing a copy from a template")
FAILED = VerificationError.exit_code
_MORE = 3
"""Places of one finding that are shown."""


def check(
    paths: tuple[Path, ...],
    /,
    *,
    rules: str = "nxmx,gold,hits",
    strict: Switch = False,
    fix: Annotated[Path | None, Parameter(group=FIXING)] = None,
    output: Annotated[Path | None, Parameter(alias="-o", group=FIXING)] = None,
    overwrite_values: Annotated[Switch, Parameter(group=FIXING)] = False,
    overwrite: Annotated[Switch, Parameter(group=FIXING)] = False,
    template: Annotated[Switch, Parameter(group=FIXING)] = False,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Check files against NXmx, the MX Gold Standard and the rules of hit information, or complete a copy of one.

    All findings come together, each with its severity, place and mend. The exit code is 0 where nothing is worse than
    a warning, and 5 where there is an error.

    Parameters
    ----------
    paths
        HDF5 files: masters, data files, or what hitsieve wrote.
    rules
        Rule sets to check by, with commas: nxmx, gold (MX Gold Standard), hits (hit information).
    strict
        Warnings fail the check, too: exit code 5.
    fix
        Fill what is absent from this template (TOML) into a copy of the one file. The file itself is only read.
    output
        The copy to write, with --fix.
    overwrite_values
        Let the template replace values that are in the file.
    overwrite
        Replace the copy if it exists.
    template
        Print a template of what the one file lacks, to be filled in.
    json
        Print the findings as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    sets = _rule_sets(rules)
    _require_sense(paths, fix, output, template=template, overwrite=overwrite or overwrite_values)
    from hitsieve.pipeline import check as work

    if template:
        print(work.template_of(paths[0], sets), end="")
        return 0
    if fix is not None and output is not None:
        done = work.complete(
            paths[0], fix, output, sets=sets, overwrite=(overwrite_values, overwrite), tick=stoppable(None)
        )
        _print_completed(done, json=json, quiet=messages.quiet)
        return _code([done.checked], strict=strict)
    with shown_count("checking", wanted=not (json or messages.quiet)) as progress:
        checked = work.check(paths, sets, progress=stoppable(progress))
    if json:
        _print_json([_plain(one) for one in checked])
    elif not messages.quiet:
        for one in checked:
            _print(one)
    return _code(checked, strict=strict)


def _rule_sets(text: str) -> tuple[str, ...]:
    from hitsieve.check import RULE_SETS

    given = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in given if name not in RULE_SETS]
    if unknown or not given:
        what = f"--rules: unknown rule set {unknown[0]}" if unknown else "--rules names no rule set"
        raise SettingsError(what, mend=f"there are {', '.join(RULE_SETS)}")
    return tuple(name for name in RULE_SETS if name in given)


def _require_sense(
    paths: Sequence[Path], fix: Path | None, output: Path | None, *, template: bool, overwrite: bool
) -> None:
    if not paths:
        raise SettingsError("check needs PATHS...", mend="for example: hitsieve check lyso_master.h5")
    if (fix is None) != (output is None):
        what, mend = ("--fix", "--output COPY") if output is None else ("--output", "--fix TEMPLATE")
        raise SettingsError(f"{what} needs {mend}", mend="hitsieve check --fix beamline.toml FILE -o COPY")
    if fix is not None and template:
        raise SettingsError(
            "--template and --fix exclude each other", mend="print a template first, fill it in, then --fix"
        )
    if (fix is not None or template) and len(paths) > 1:
        flag = "--fix" if fix is not None else "--template"
        raise SettingsError(f"{flag} takes one file, not {len(paths)}", mend="call it once for each")
    if overwrite and fix is None:
        raise SettingsError("--overwrite and --overwrite-values belong to --fix", mend="leave them out")


def _code(checked: Sequence[Checked], *, strict: bool) -> int:
    from hitsieve.check import Severity

    least = Severity.WARNING if strict else Severity.ERROR
    return FAILED if any(one.worst is not None and one.worst >= least for one in checked) else 0


def _print(checked: Checked) -> None:
    print(f"{checked.path}: {_counted(checked)}")
    told = list(checked.findings)
    for number, finding in enumerate(told):
        for line in _lines(finding):
            print(line)
        # What many lines have as their mend is said once, below the last of them.
        following = told[number + 1] if number + 1 < len(told) else None
        if following is None or (following.mend, following.severity) != (finding.mend, finding.severity):
            print(f"{'':11}mend: {finding.mend}")
    if told:
        print()


def _lines(finding: Finding) -> Iterator[str]:
    sets = ", ".join(finding.rules)
    yield f"  {finding.severity.name.lower():<9}{finding.place} {finding.what} [{sets}]"
    others = finding.places[1:]
    if others:
        shown = ", ".join(others[:_MORE])
        yield f"{'':11}and so are {len(others):,} more: {shown}{', ...' if len(others) > _MORE else ''}"


def _counted(checked: Checked) -> str:
    from hitsieve.check import Severity

    counts = [(checked.count(severity), severity.name.lower()) for severity in sorted(Severity, reverse=True)]
    return ", ".join(f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in counts if n) or "nothing found"


def _plain(checked: Checked) -> dict[str, Any]:
    from hitsieve.check import Severity

    counts = {f"n_{severity.name.lower()}s": checked.count(severity) for severity in sorted(Severity, reverse=True)}
    return {"file": str(checked.path), **counts, "findings": [finding.plain() for finding in checked.findings]}


def _print_json(said: Any) -> None:
    import json as encoder

    print(encoder.dumps(said, indent=2))


def _print_completed(done: Completed, *, json: bool, quiet: bool) -> None:
    if json:
        filled = [{"place": one.place, "filled": one.done, "what": one.what} for one in done.filled]
        _print_json({**_plain(done.checked), "filled": filled})
        return
    for one in done.filled:
        if not one.done and not one.what.endswith("already"):
            print(f"hitsieve: warning: {one.place} was left: it {one.what}", file=sys.stderr)
    if quiet:
        return
    for one in done.filled:
        print(f"{'filled' if one.done else 'left':<8}{one.place} {one.what}")
    print(f"\n{done.path}: {_counted(done.checked)}; hitsieve check {done.path} lists them")
