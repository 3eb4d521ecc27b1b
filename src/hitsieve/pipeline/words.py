"""The account of an image in plain words."""

from __future__ import annotations

import math

from hitsieve.model import SpotFlag, State
from hitsieve.pipeline.account import Account, Again, Rejected

Row = tuple[str, str]


def headline(account: Account) -> str:
    """Give the state and the rule in one sentence; of an image that is not as it was, what is recorded."""
    if not account.searched:
        return f"{account.state.name.lower()}: {account.results.reasons.get(account.image) or 'no reason is recorded'}"
    recorded = "recorded as " if account.differs else ""
    return f"{recorded}{account.state.name.lower()}: {_why(account)}"


def rows(account: Account) -> list[Row]:
    """Give the facts, each with its name, in the order in which they matter."""
    found: list[Row] = []
    if account.differs:
        found.append(("differs", account.differs))
    if account.searched:
        found += [("rule", _rule(account)), ("spots", _spots(account)), *_left_out(account)]
        if account.n_lattices >= 0:
            found += _lattices(account)
        found += [("near", near(account)), *_again(account.again)]
        found += [("background", _background(account)), ("resolution", _resolution(account))]
        found += [("saturated", _saturated(account))]
    if account.segment is not None and account.segment.kind != "unknown":
        found.append(("segment", f"{account.segment.kind}, images {account.segment.first} to {account.segment.last}"))
    if account.pump is not None:
        found.append(("pump", account.pump))
    if account.hit is not None:
        found.append(("hit-only", f"row {account.hit} of {account.hits_file}"))
    found.append(("original", account.place or "no file is known"))
    if account.picture is not None:
        found.append(("picture", str(account.picture)))
    return found


def near(account: Account) -> str:
    """How far the image is from the other verdict."""
    if account.state == State.HIT:
        return _margin(account)
    ways = _ways(account)
    ice, enough = account.only_ice, account.rule.min_spots
    if account.rule.rule in ("either", "spots") and ice and account.counted + ice >= enough:
        ways.append(f"--no-ice ({account.counted + ice} spots would count)")
    if not ways:
        return "no spot counts: spots alone cannot make it a hit"
    return f"{_or(ways)} would make it a hit"


def _ways(account: Account) -> list[str]:
    """What would make a miss a hit."""
    kind, counted, missing = account.rule.rule, account.counted, account.rule.min_spots - account.counted
    fewer = [f"--min-spots {counted}"] if counted else []
    if kind == "indexed":
        return ["a lattice", *([f"--rule spots --min-spots {counted}"] if counted else [])]
    if kind == "both":
        if account.n_lattices > 0:
            return [_n(missing, "more spot"), *fewer]
        return [f"{_n(missing, 'more spot')} and a lattice"] if missing > 0 else ["a lattice", "--rule spots"]
    lattice = ["a lattice"] if kind == "either" and account.n_lattices == 0 and counted else []
    return [_n(missing, "more spot"), *fewer, *lattice] if counted else []


def _margin(account: Account) -> str:
    """What would make a hit a miss."""
    kind, counted, enough = account.rule.rule, account.counted, account.rule.min_spots
    up_to = f"it would stay a hit up to --min-spots {counted}"
    if kind == "indexed" or (kind == "either" and counted < enough):
        return f"its lattice makes it a hit; by spots alone --min-spots {counted} would be needed"
    if kind == "either" and account.n_lattices > 0:
        return f"its lattice{'s' if account.n_lattices > 1 else ''} alone would make it a hit, and so would its spots"
    return up_to + (", as long as it has a lattice" if kind == "both" else "")


def _why(account: Account) -> str:
    kind, counted, enough = account.rule.rule, account.counted, account.rule.min_spots
    has_enough = counted >= enough
    spots = (
        f"{_n(counted, 'spot')} count{'s' if counted == 1 else ''}, {enough} are {'enough' if has_enough else 'needed'}"
    )
    if kind == "spots":
        return spots
    n = account.n_lattices
    lattice = "no lattice was found" if n <= 0 else f"{_n(n, 'lattice')} {'was' if n == 1 else 'were'} found"
    if kind == "indexed":
        return f"{lattice}, and the rule asks for one ({_n(counted, 'spot')} count)"
    link = "and" if has_enough == (n > 0) else "but"
    asked = "; the rule asks for both" if kind == "both" else ""
    return f"{spots}, {link} {lattice}{asked}"


def _rule(account: Account) -> str:
    asks = {
        "either": "enough spots, or a lattice",
        "spots": "enough spots",
        "indexed": "a lattice",
        "both": "enough spots and a lattice",
    }[account.rule.rule]
    if not account.by_spots:
        return asks
    came = {"given": "as given", "blanks": "from the run's blanks", "default": "by default"}[account.rule.origin]
    told = account.rule.reason and account.rule.origin != "given"
    reason = f" ({account.rule.reason})" if told else ""
    return f"{asks}; {account.rule.min_spots} spots are enough, {came}{reason}"


def _spots(account: Account) -> str:
    results = account.results
    n, kept = int(results.n_spots[0]), len(results.spots)
    found = f"{_n(n, 'spot')} from {_n(int(results.n_strong[0]), 'strong pixel')}, {account.counted} of them count"
    if kept < n:
        found += f"; only the {kept} strongest were kept (--max-spots)"
    return found


def _left_out(account: Account) -> list[Row]:
    """Which spots do not count, and why."""
    found = []
    ice, verdict = account.flagged(SpotFlag.ICE), account.verdict
    if ice and verdict.ice:
        found.append(f"{ice} in ice bands (within {verdict.ice_half_width:g} 1/angstrom of a powder ring of ice)")
    outside = account.flagged(SpotFlag.OUT_OF_RANGE)
    if outside:
        limits = [f"{name} {value:g}" for name, value in (("d_max", verdict.d_max), ("d_min", verdict.d_min)) if value]
        found.append(f"{outside} out of the resolution range ({', '.join(limits)} angstrom)")
    text = " and ".join(found)
    if ice and outside and verdict.ice:
        both = len(account.results.spots) - account.counted
        text += f": {both} in all"
    rows_: list[Row] = [("not counted", text)] if found else []
    if ice and not verdict.ice:
        rows_.append(("ice", f"{_n(ice, 'spot')} in ice bands, which count (--no-ice)"))
    return rows_


def _lattices(account: Account) -> list[Row]:
    if account.n_lattices == 0:
        if account.rethought:
            why = "none was found when the run was searched"
        elif account.counted < account.min_indexed:
            why = f"not looked for: {account.min_indexed} spots that count are needed (--min-indexed)"
        else:
            why = f"none explains the {account.counted} spots beyond chance"
        return [("lattices", why)]
    lattices, found = account.results.lattices, []
    for i in range(len(lattices)):
        cell = " ".join(f"{value:.2f}" for value in lattices.cell[i])
        n, counted = int(lattices.n_indexed[i]), account.indexed_and_counted(i)
        # Limits may have been other ones when the lattice was found.
        spots = f"{n} of {account.counted} spots indexed"
        if n != counted:
            spots = f"{_n(n, 'spot')} indexed, {counted} of the {account.counted} that count"
        text = (
            f"cell {cell}; {spots}, "
            f"median residual {lattices.residual[i]:.5f} 1/angstrom, chance of a false one "
            f"{_chance(lattices.chance[i])}"
        )
        found.append((f"lattice {i + 1}", text))
    return found


def _chance(value: float) -> str:
    return f"{value:.0e}" if value >= 1e-300 else "below 1e-300"


def _again(again: Again | None) -> list[Row]:
    if again is None:
        return []
    rejected = _rejected(again.rejected)
    return [("rejected", rejected)] if rejected else []


def _rejected(rejected: Rejected) -> str:
    parts = []
    if rejected.small:
        parts.append(f"{rejected.small} with too few pixels (--min-pixels)")
    if rejected.large:
        parts.append(f"{rejected.large} with too many pixels (--max-pixels)")
    if rejected.weak_snr is not None:
        low, high = rejected.weak_snr
        parts.append(f"{rejected.weak} with snr {low:.1f} to {high:.1f} (--spot-snr)")
    total = rejected.small + rejected.large + rejected.weak
    return f"{_n(total, 'more group')} of strong pixels: {', '.join(parts)}" if parts else ""


def _background(account: Account) -> str:
    level = float(account.results.background[0])
    if not math.isfinite(level):
        return "unknown: no pixel gives it"
    median = account.background_median
    of_run = "" if median is None else f" (median of the run {median:.3g})"
    return f"{level:.3g} counts a pixel{of_run}"


def _resolution(account: Account) -> str:
    d = float(account.results.resolution[0])
    if math.isfinite(d):
        return f"{d:.2f} angstrom, estimated from the spots that count"
    if not account.resolved:
        return "unknown, for want of geometry or wavelength"
    return "unknown: it takes five spots that count"


def _saturated(account: Account) -> str:
    results = account.results
    return f"{_n(int(results.n_saturated[0]), 'pixel')}; the largest count is {int(results.max_count[0])}"


def _n(n: int, what: str) -> str:
    """Count something: 1 spot, 2 spots, 1 lattice."""
    if n == 1:
        return f"1 {what}"
    return f"{n:,} {what}s"


def _or(ways: list[str]) -> str:
    if len(ways) <= 2:
        return " or ".join(ways)
    return f"{', '.join(ways[:-1])}, or {ways[-1]}"
