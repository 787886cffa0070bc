"""A consumer takes what is ours from a queue, and gives back what is not.

SQS lets several queues share one dead-letter queue, and says of each message which of them it comes from. What comes
from another, or does not say, is not ours to take: it stays hidden while a drain runs, so that the drain comes to its
own, and is shown again at the end.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from include.failures import SetupError
from include.sqs.calls import CALL_SIZE, Queue, Received, receive_once, show_again
from include.sqs.errors import error_name

log = logging.getLogger(__name__)

MOST_OF_OTHERS = 1_000  # that a drain holds; with more it ends, since it may never come to its own


@dataclass(slots=True)
class Consumer:
    """Receives from a queue; threads may share it. Of messages that are not ours it holds the receipt handles."""

    queue: Queue
    of_others: list[str] = field(default_factory=list, repr=False)

    def receive(self, size: int) -> list[Received]:
        """At most `size` of our messages, ten at most; none where a long poll finds none, or too many of others."""
        ours: list[Received] = []
        while not ours and len(self.of_others) < MOST_OF_OTHERS:
            received = receive_once(self.queue, size)
            if not received or self.queue.only_from is None:
                return received
            for message in received:
                if message.moved_from == self.queue.only_from:
                    ours.append(message)
                else:
                    self.of_others.append(message.receipt.handle)
        return ours

    def close(self) -> None:
        """Let others receive what is theirs. What cannot be shown again shows itself, a little later."""
        if not self.of_others:
            return
        log.warning(
            "%d messages in the dead-letter queue are another queue's, or do not say whose, and stay there%s",
            len(self.of_others),
            "; a drain looks at no more of them" if len(self.of_others) >= MOST_OF_OTHERS else "",
        )
        try:
            for start in range(0, len(self.of_others), CALL_SIZE):
                show_again(self.queue, self.of_others[start : start + CALL_SIZE])
        except (SetupError, ClientError, BotoCoreError) as error:
            reason = error if isinstance(error, SetupError) else error_name(error)
            log.warning("they stay hidden for %d seconds at most: %s", self.queue.hidden_seconds, reason)
