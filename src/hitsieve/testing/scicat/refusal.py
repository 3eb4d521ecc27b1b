"""An answer that is an error."""

from __future__ import annotations

from http import HTTPStatus


class Refusal(Exception):
    """The server answers with an error.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str or list of str
        What it says.
    """

    def __init__(self, status: int, message: str | list[str]) -> None:
        self.status = status
        self.message = message
        super().__init__(f"{status} {message}")

    @property
    def body(self) -> dict[str, object]:
        """The answer's body."""
        return {"statusCode": self.status, "message": self.message, "error": HTTPStatus(self.status).phrase}
