"""`python -m hitsieve.testing.scicat`: an imitated SciCat to try `hitsieve ingest` with."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from hitsieve.testing.scicat.server import FakeSciCat
from hitsieve.testing.scicat.store import ACCOUNTS, Account


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m hitsieve.testing.scicat", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="port on this computer; 0: a free one")
    parser.add_argument("--backend", choices=("v5", "v4"), default="v5", help="which version it imitates")
    parser.add_argument("--group", action="append", default=[], help="a group of the account user; may be repeated")
    options = parser.parse_args(arguments)
    accounts = [
        Account(one.username, one.password, (*one.groups, *options.group)) if not one.privileged else one
        for one in ACCOUNTS
    ]
    try:
        fake = FakeSciCat(options.backend, accounts=accounts, port=options.port)
    except OSError as error:
        print(f"port {options.port} cannot be used: {error.strerror} (give another with --port)", file=sys.stderr)
        return 1
    with fake:
        print(f"SciCat {options.backend}, imitated, at {fake.url}; what it is told is lost when it ends (Ctrl-C)")
        for one in accounts:
            kind = ", may create for any group" if one.privileged else ""
            print(f"  account {one.username}, password {one.password}, groups {', '.join(one.groups)}{kind}")
        sys.stdout.flush()
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
