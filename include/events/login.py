"""A login event: which message bodies are one, and why any other is rejected.

Accepted is the flat JSON object that producers send, bare, or in at most three envelopes, one in another: SNS
notifications (`Message`) and EventBridge events (`detail`), whose content may be an object or its JSON text. A byte
order mark in front is ignored. Fields that are not ours are ignored and never stored.
"""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import from_json, to_json

from include.events.message import Message


class RejectedMessage(ValueError):
    """A body that is not a login event.

    `fields` names the offending fields, sorted; `reason` lists `field: rule` for each of them.
    Neither holds anything that the sender wrote.
    """

    def __init__(self, broken: Sequence[tuple[str, str]]) -> None:
        self.fields = sorted({field for field, _ in broken if field != BODY})
        self.reason = "; ".join(sorted({f"{field}: {rule}" for field, rule in broken}))
        super().__init__(self.reason)


BODY = "body"  # stands for the whole message where no single field is at fault
MAX_ENVELOPES = 3  # around an event, one in another
BYTE_ORDER_MARK = "\ufeff"
NO_USER = ("user_id", "missing")
# A user's name below the top of an object, also in a text that is JSON itself, however often that is escaped.
USER_INSIDE = re.compile(r'"user_id\\*"\s*:')

# Postgres text cannot hold NUL. It is the only pattern in use, so its error type gets a name of its own.
NO_NUL = r"^[^\x00]*$"
RULES = {
    "string_pattern_mismatch": "nul_character",
    "string_unicode": "lone_surrogate",
    "dataclass_type": "not_an_object",
}


def _version_text(value: object) -> str | None:
    """What of a version is kept: text, cut to its column's length. No login is rejected for its version."""
    return value[:VERSION_LENGTH] or None if isinstance(value, str) and "\0" not in value else None


VERSION_LENGTH = 32
Short = Annotated[str, Field(max_length=32, pattern=NO_NUL)]
Long = Annotated[str, Field(max_length=256, pattern=NO_NUL)]
# Only keys are cached: raw values are to be gone when their batch is.
STRICT = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True, cache_strings="keys")


@dataclass(frozen=True, slots=True, config=STRICT)
class Login:
    """One valid event. Lengths are those of the columns; `ip` and `device_id` are still raw."""

    user_id: Annotated[str, Field(min_length=1, max_length=128, pattern=NO_NUL)]
    app_version: Annotated[str | None, BeforeValidator(_version_text)] = None
    device_type: Short | None = None
    ip: Long | None = Field(default=None, repr=False)
    locale: Short | None = None
    device_id: Long | None = Field(default=None, repr=False)


_LOGIN = TypeAdapter(Login).validator


def parse(message: Message) -> Login:
    """The login event in a message's body, bare or in envelopes.

    Raises RejectedMessage, and nothing else, for every other text. An event without a user, which has one deeper inside
    or is in too many envelopes, is in an unknown one.
    """
    part, text = BODY, message.body.removeprefix(BYTE_ORDER_MARK)
    inside = None
    for _ in range(1 + MAX_ENVELOPES):
        try:
            login: Login = _LOGIN.validate_json(text)
        except ValidationError as error:
            broken = _broken_rules(error, part)
        else:
            return login
        # An event without a user may be an envelope; looking only now keeps the flat event cheap.
        inside = _content(text) if NO_USER in broken else None
        if inside is None:
            break
        part, text = inside
    if NO_USER in broken and (inside or USER_INSIDE.search(text)):
        broken = [(BODY, "unknown_envelope")]
    # Raised outside the handlers, so that pydantic's error, which knows the values, is not its context.
    raise RejectedMessage(broken)


def _content(text: str) -> tuple[str, str] | None:
    """Which part of an envelope has what is in it, and that as JSON; None for any other object.

    https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html,
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
    """
    envelope = from_json(text, cache_strings="keys")
    if envelope.get("Type") == "Notification" and "Message" in envelope:
        part = "Message"
    elif "detail-type" in envelope and "detail" in envelope:
        part = "detail"
    else:
        return None
    content = envelope[part]
    if isinstance(content, str):
        return part, content.removeprefix(BYTE_ORDER_MARK)
    return part, to_json(content, inf_nan_mode="constants").decode()


def _broken_rules(error: ValidationError, part: str) -> list[tuple[str, str]]:
    """Field, or else the part, and rule of each error. `loc` and `type` are ours; all the rest may hold values."""
    return [
        (str(detail["loc"][-1]) if detail["loc"] else part, RULES.get(detail["type"], detail["type"]))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]
