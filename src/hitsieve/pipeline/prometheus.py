"""Numbers about this program, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from hitsieve.errors import SettingsError
from hitsieve.model import Closing


class Served(Closing):
    """Serves numbers over HTTP; use it in a `with` statement.

    Parameters
    ----------
    address : str
        [HOST]:PORT; without a host, all of the machine's.
    registry : CollectorRegistry
        The numbers.

    Raises
    ------
    SettingsError
        The address makes no sense or is taken.
    """

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host or "0.0.0.0", registry)  # noqa: S104
        except (OSError, ValueError, OverflowError) as error:
            raise SettingsError(
                f"metrics cannot be served at {address!r}: {error}", mend="name a free port, as :9100"
            ) from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
