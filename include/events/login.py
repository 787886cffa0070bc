"""A login event: which message bodies are one, and why any other is rejected.

Accepted is the flat JSON object that producers send, bare, inside an SNS notification (`Message`)
or inside an EventBridge event (`detail`). Fields that are not ours are ignored and never stored.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, Json, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import from_json


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


@dataclass(frozen=True, slots=True, config=STRICT)
class SnsNotification:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html"""

    Type: Literal["Notification"]
    Message: Json[Login]


@dataclass(frozen=True, slots=True, config=STRICT)
class EventBridgeEvent:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html"""

    detail: Login


_LOGIN = TypeAdapter(Login)
_SNS = TypeAdapter(SnsNotification)
_EVENTBRIDGE = TypeAdapter(EventBridgeEvent)


def parse(body: str) -> Login:
    """The login event in a message body, whichever of the three shapes it has.

    Raises RejectedMessage, and nothing else, for every other text.
    """
    try:
        return _LOGIN.validate_json(body)
    except ValidationError as error:
        broken = _broken_rules(error)
    # An event without a user may be an envelope; looking only now keeps the flat event cheap.
    if ("user_id", "missing") in broken:
        try:
            envelope = from_json(body, cache_strings="keys")
            if envelope.get("Type") == "Notification" and "Message" in envelope:
                return _SNS.validate_json(body).Message
            if "detail-type" in envelope and "detail" in envelope:
                return _EVENTBRIDGE.validate_json(body).detail
        except ValidationError as error:
            broken = _broken_rules(error)
    # Raised outside the handlers, so that pydantic's error, which knows the values, is not its context.
    raise RejectedMessage(broken)


def _broken_rules(error: ValidationError) -> list[tuple[str, str]]:
    """Field and rule of each error. `loc` and `type` are ours; every other part may hold values."""
    return [
        (str(detail["loc"][-1]) if detail["loc"] else BODY, RULES.get(detail["type"], detail["type"]))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    ]
