"""Answers are read when there is room for them.

botocore reads an answer as soon as it is there: of 32 calls at once, 32 answers of ten messages of 1 MiB each, which
nobody sees coming behind small ones. But an answer's head says how long its body is, and what is not read yet waits in
the sockets. So a call can be held up between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_sqs import SQSClient

UNKNOWN_LENGTH = 10 * 2**20  # assumed of an answer that does not say how long it is: what ten messages have at most

WaitForRoom = Callable[[int], None]
_wait_for_room: ContextVar[WaitForRoom | None] = ContextVar("wait_for_room", default=None)


@contextmanager
def waiting_for_room(wait: WaitForRoom | None) -> Iterator[None]:
    """Let the receive calls of this thread call `wait`, with the bytes of an answer, before they read it.

    It may be called again for one call, when that is tried again. What it raises ends the call.
    """
    token = _wait_for_room.set(wait)
    try:
        yield
    finally:
        _wait_for_room.reset(token)


def read_in_turn(client: SQSClient) -> None:
    """Let this client's receive calls wait for room, where they are told to."""
    session = client._endpoint.http_session  # type: ignore[attr-defined] # noqa: SLF001 - it has no other name

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        wait = _wait_for_room.get()
        if wait is None:
            return None  # botocore goes on by itself
        request.stream_output = True
        response: AWSResponse = session.send(request)
        try:
            wait(int(response.headers.get("Content-Length", UNKNOWN_LENGTH)))
            response.content  # noqa: B018 - botocore keeps what this reads
        except HTTPError as error:  # botocore's own reading makes this of it, and tries again
            raise HTTPClientError(error=error) from error
        except BaseException:
            response.raw.close()  # its connection has an answer that nobody reads
            raise
        return response

    client.meta.events.register("before-send.sqs.ReceiveMessage", send)  # type: ignore[arg-type] # it may answer
