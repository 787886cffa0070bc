"""A local SQS server with the sample queues, in memory: python -m sandbox.sqs_server HOST PORT."""

import logging
import signal
import sys
import time
from datetime import datetime
from typing import Any, cast

from moto.core.responses import ActionResult
from moto.server import ThreadedMotoServer
from moto.sqs import models
from moto.sqs.responses import SQSResponse

from sandbox.queues import client, make_queues

RECEIVE, DELETE = models.SQSBackend.receive_message, models.Queue.delete_message
ADD, ANSWER = models.Queue.add_message, SQSResponse.receive_message
MOVED = "DeadLetterQueueSourceArn"
MOVED_FROM: dict[str, str] = {}  # the ARN of the queue, by message id
ENDINGS = {signal.SIGTERM, signal.SIGINT}


def main(host: str, port: int) -> None:
    """Serve until told to end; nobody reaches the server before its queues are there."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)  # a container's first process gets only what it asks for
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    models.unix_time_millis = _milliseconds  # type: ignore[attr-defined]
    models.SQSBackend.receive_message = _receive_alone  # type: ignore[assignment,method-assign]
    models.Queue.delete_message = _delete_alone  # type: ignore[assignment,method-assign]
    models.Queue.add_message = _add  # type: ignore[assignment,method-assign]
    SQSResponse.receive_message = _receive_with_source  # type: ignore[assignment,method-assign]

    preparing = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    preparing.start()
    make_queues(client("http://{}:{}".format(*preparing.get_host_and_port())))
    preparing.stop()

    ThreadedMotoServer(ip_address=host, port=port, verbose=False).start()  # the same queues
    signal.sigwait(ENDINGS)


def _milliseconds(dt: datetime | None = None) -> float:
    """Each call asks for the time twice for each waiting message: moto's own way there takes nine tenths of its CPU."""
    return time.time() * 1_000


# moto guards only what it sends. Of two calls at once it gave one message to both, forgot a deletion, or answered 500
# for messages that it hid. Its lock lets go of all while a receive waits for messages.


def _receive_alone(backend: models.SQSBackend, queue_name: str, *arguments: Any, **named: Any) -> list[models.Message]:
    with backend.get_queue(queue_name)._messages_lock:  # noqa: SLF001
        return RECEIVE(backend, queue_name, *arguments, **named)


def _delete_alone(queue: models.Queue, receipt_handle: str) -> None:
    with queue._messages_lock:  # noqa: SLF001
        DELETE(queue, receipt_handle)


# moto does not say from which queue a dead letter was moved.


def _add(queue: models.Queue, message: models.Message) -> None:
    """A message is added to the queue that it is sent to, and perhaps later to the dead-letter queue."""
    if hasattr(message, "sent_to"):
        MOVED_FROM[message.id] = message.sent_to
    message.sent_to = queue.queue_arn  # type: ignore[attr-defined]
    ADD(queue, message)


def _receive_with_source(response: SQSResponse) -> ActionResult:
    answer = ANSWER(response)
    wanted = response._get_param("MessageSystemAttributeNames", [])  # noqa: SLF001
    for message in cast("dict[str, Any]", answer.result).get("Messages", []):
        if message["MessageId"] in MOVED_FROM and {"All", MOVED} & set(wanted):
            message["Attributes"][MOVED] = MOVED_FROM[message["MessageId"]]
    return answer


main(sys.argv[1], int(sys.argv[2]))
