"""A server that imitates SciCat's backend, errors included, for tests and for trying `hitsieve ingest` without one.

It answers as backends of version 5 and 4 were seen to; nothing that it is told outlives it.
"""

try:
    from hitsieve.testing.scicat.server import FakeSciCat, Seen
except ModuleNotFoundError as error:
    if error.name not in ("fastapi", "uvicorn"):
        raise
    what = f"the imitated SciCat needs {error.name}: pip install fastapi uvicorn"
    raise ModuleNotFoundError(what, name=error.name) from error
from hitsieve.testing.scicat.faults import Fault
from hitsieve.testing.scicat.store import ACCOUNTS, Account

__all__ = ["ACCOUNTS", "Account", "FakeSciCat", "Fault", "Seen"]
