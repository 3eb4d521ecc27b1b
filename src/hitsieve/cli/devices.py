"""`hitsieve devices`."""

from __future__ import annotations

import json as as_json
import os

from hitsieve.cli.options import AsJson, Messages


def devices(
    *,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """List the cores and graphics cards of this computer, and say which of them a run would use.

    Parameters
    ----------
    json
        Print the list as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve._core import cpu_features
    from hitsieve.pipeline.cards import choice

    chosen = choice()
    found = chosen.found
    cards = [
        {
            "number": card.number,
            "name": card.name,
            "memory": card.memory,
            "capability": ".".join(str(part) for part in card.capability),
            "usable": card in found.usable,
            "one_process": card.is_alone,
        }
        for card in found.cards
    ]
    cores = len(os.sched_getaffinity(0))
    if json:
        listed = {"cores": cores, "kernels": cpu_features(), "cards": cards, "driver": found.driver or None}
        listed |= {"engine": chosen.engine, "why": chosen.why, "mend": chosen.mend}
        print(as_json.dumps(listed, indent=2))
        return 0
    print(f"cores   {cores}, kernels for {cpu_features()}")
    for card in found.cards:
        usable = "" if card in found.usable else ", cannot be used"
        usable += ", for one process at a time" if card.is_alone else ""
        capability = ".".join(str(part) for part in card.capability)
        print(
            f"card {card.number}  {card.name}, {card.memory / 2**30:.0f} GiB, compute capability {capability}{usable}"
        )
    print(f"driver  {'for CUDA ' + found.driver if found.driver else 'none'}")
    mend = f" ({chosen.mend})" if chosen.mend else ""
    print(f"engine  {chosen.engine}: {chosen.why}{mend}")
    return 0
