"""The two calls that a drain makes over and over, for about half of the CPU that boto3 takes.

Most of what a call costs is the same each time: to resolve the endpoint, to choose headers and a signer, to read by a
model. So boto3 makes the first call of an operation, and its request becomes the template of those that follow, which
differ in body, date and signature. They leave through boto3's own HTTP session, whose proxies, certificates, time-outs
and connections they share.

    no template ──► boto3 calls ────────────────────► its answer; its request becomes the template
    template ─────► send ──► 200 that can be read ──► the answer
                      └────► anything else ─────────► boto3 calls, and its first try ends as this one did

So errors, and what is tried again, how often and when, are boto3's. Where a request cannot be made again to the
letter, with its signature, or somebody follows boto3's calls, boto3 makes them all.
"""

from __future__ import annotations

import hmac
import logging
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from hashlib import sha256
from http import HTTPStatus
from threading import local
from time import gmtime, strftime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator, from_json, to_json
from pydantic_core import core_schema as core

log = logging.getLogger(__name__)

LEFT_TO_BOTO3 = "boto3 receives and deletes, which takes more CPU: %s"
READING = CoreConfig(cache_strings="keys")  # no values, which are to be gone with their batch
SAME = {"x-amz-target", "x-amzn-query-mode", "content-type", "user-agent", "amz-sdk-request"}  # in all requests
# What of boto3's events a lean call does not have.
EVENTS = ("before-parameter-build", "before-call", "request-created", "before-sign", "response-received", "after-call")


@dataclass(frozen=True, slots=True)
class Template:
    """What all requests of an operation share. `signed` are headers; `scope` is region, service and version."""

    url: str
    same: dict[str, str]
    signed: set[str]
    scope: str

    def headers(self, body: bytes, credentials: Any, *, date: str, call_id: str) -> dict[str, str]:
        """The headers of a POST to /, with names in lower case, signed by Signature Version 4.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        """
        headers = {**self.same, "x-amz-date": date, "amz-sdk-invocation-id": call_id}
        signed = {"host": urlsplit(self.url).netloc} | {name: headers[name] for name in self.signed}
        if credentials.token:
            headers["x-amz-security-token"] = signed["x-amz-security-token"] = credentials.token
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"POST\n/\n\n{lines}\n{names}\n{sha256(body).hexdigest()}"
        scope = f"{date[:8]}/{self.scope}"
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(signing_key(credentials.secret_key, scope), text.encode(), "sha256").hex()
        credential = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}"
        headers["authorization"] = f"{credential}, SignedHeaders={names}, Signature={signature}"
        return headers


@lru_cache(maxsize=4)
def signing_key(secret_key: str, scope: str) -> bytes:
    """The key with which all of a day is signed."""
    parts = scope.encode().split(b"/")
    return reduce(lambda key, part: hmac.digest(key, part, "sha256"), parts, f"AWS4{secret_key}".encode())


def template_of(request: Any, call: dict[str, Any], credentials: Any) -> Template:
    """The template, from boto3's request for this call; LookupError where that cannot be made again from it."""
    headers = {name.lower(): each if isinstance(each, str) else each.decode() for name, each in request.headers.items()}
    headers.pop("content-length", None)  # urllib3 adds it
    # AWS4-HMAC-SHA256 Credential=id/day/region/service/version, SignedHeaders=name;name, Signature=…
    credential, _, signed = headers.get("authorization", "").partition(", SignedHeaders=")
    same = {name: headers[name] for name in SAME & headers.keys()}
    scope = credential.partition("/")[2].partition("/")[2]
    names = {*signed.partition(",")[0].split(";")} & {*same, "x-amz-date"}
    template = Template(request.url, same, names, scope)
    date, call_id = (headers.get(name, "") for name in ("x-amz-date", "amz-sdk-invocation-id"))
    again = template.headers(request.body, credentials, date=date, call_id=call_id)
    other = {name for name in headers | again if headers.get(name) != again.get(name)}
    if other or from_json(request.body) != call:
        raise LookupError(f"a request has another {', '.join(sorted(other)) or 'body'}")
    return template


def schema_of(shape: Any) -> CoreSchema:
    """What boto3 makes of JSON by its model; KeyError for types that no answer of SQS has."""
    if shape.type_name == "structure":
        members = {name: core.typed_dict_field(schema_of(each)) for name, each in shape.members.items()}
        return core.typed_dict_schema(members, total=False)
    if shape.type_name == "list":
        return core.list_schema(schema_of(shape.member))
    if shape.type_name == "map":
        return core.dict_schema(schema_of(shape.key), schema_of(shape.value))
    blob = core.no_info_before_validator_function(b64decode, core.bytes_schema())
    return {"blob": blob, "string": core.str_schema(), "boolean": core.bool_schema()}[shape.type_name]


class Session(local):
    """boto3's HTTP session, which does not send a request of which the thread knows how it `ended`."""

    ended: AWSResponse | BotoCoreError | None = None
    request: AWSPreparedRequest | None = None  # what the thread has sent last

    def __init__(self, session: Any) -> None:
        self._session, self.close = session, session.close

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """As the original."""
        ended, self.ended, self.request = self.ended, None, request
        if isinstance(ended, BotoCoreError):
            raise ended
        return ended or self._session.send(request)


class Lean:
    """A client's two operations, which threads may share. All that is taken of botocore's own is taken here."""

    def __init__(self, client: Any) -> None:
        endpoint, events = client._endpoint, client.meta.events  # noqa: SLF001 - the names it has
        self._emit, self._handlers_of = events.emit, events._emitter._handlers.prefix_search  # noqa: SLF001
        self._model = client.meta.service_model
        self._credentials = client._get_credentials()  # noqa: SLF001 - or what renews them before they expire
        # To find a URL's pool of connections anew each time would be a tenth of what is left.
        pools = endpoint.http_session._manager  # noqa: SLF001
        pools.connection_from_url = lru_cache(pools.connection_from_url)
        self._session = endpoint.http_session = Session(endpoint.http_session)
        self._calls = {"ReceiveMessage": client.receive_message, "DeleteMessageBatch": client.delete_message_batch}
        self._learned: dict[str, tuple[Template, SchemaValidator]] = {}
        self._left_to_boto3 = False  # for good
        self._handed_over = False  # whether a call has been

    def call(self, operation: str, **call: Any) -> Any:
        """What boto3 would return, without its metadata, or raise."""
        ended = None
        if learned := self._learned.get(operation):
            template, reader = learned
            ended = self._send(operation, template, to_json(call))
            if isinstance(ended, AWSResponse) and ended.status_code == HTTPStatus.OK:
                with suppress(ValueError):
                    answer = reader.validate_json(ended.content, strict=True)
                    if self._handed_over:  # what boto3 may spend on trying again grows where a call succeeds
                        self._emit(f"after-call.sqs.{operation}", http_response=ended, parsed={}, context={})
                    return answer
            self._handed_over = True
        self._session.ended = ended
        try:
            answer = self._calls[operation](**call)
        finally:
            self._session.ended = None
        if not learned and not self._left_to_boto3 and self._session.request:
            self._learn(operation, call, self._session.request)
        return answer

    def _send(self, operation: str, template: Template, body: bytes) -> AWSResponse | BotoCoreError:
        """Send a request once, as botocore does, and return how that has ended."""
        request = self._request(template, body)
        try:
            answers = self._emit(f"before-send.sqs.{operation}", request=request)
            return next((answer for _, answer in answers if answer), None) or self._session.send(request)
        except BotoCoreError as error:
            return error

    def _request(self, template: Template, body: bytes) -> AWSPreparedRequest:
        """A signed request, made apart: where sending fails, a traceback that shows variables shows no secret."""
        credentials = self._credentials.get_frozen_credentials()
        date = strftime("%Y%m%dT%H%M%SZ", gmtime())
        headers: Any = template.headers(body, credentials, date=date, call_id=str(uuid4()))
        return AWSPreparedRequest("POST", template.url, headers, body, stream_output=False)

    def _learn(self, operation: str, call: dict[str, Any], request: AWSPreparedRequest) -> None:
        """Take boto3's request for the template, if it was not a second try; raises nothing."""
        if b"attempt=1" not in request.headers.get("amz-sdk-request", b"attempt=1"):
            return
        names = [f"{event}.sqs.{operation}" for event in EVENTS]
        follow = {getattr(handler, "__module__", "somebody") for name in names for handler in self._handlers_of(name)}
        follow.add(type(vars(BaseClient)["_make_api_call"]).__module__)  # what tracing replaces; builtins, if not
        others = [f"{each} follows its calls" for each in follow if not each.startswith(("botocore.", "builtins"))]
        try:
            template = template_of(request, call, self._credentials.get_frozen_credentials())
            schema = schema_of(self._model.operation_model(operation).output_shape)
        except Exception as error:  # noqa: BLE001 - whatever it is, the call itself has succeeded
            others.append(str(error) if isinstance(error, LookupError) else type(error).__name__)
        if others:
            self._left_to_boto3 = True
            log.info(LEFT_TO_BOTO3, "; ".join(others))
        else:
            self._learned[operation] = template, SchemaValidator(schema, READING)


def make_lean(client: Any) -> None:
    """Let ReceiveMessage and DeleteMessageBatch of an SQS client take less CPU."""
    try:
        lean = Lean(client)
    except AttributeError as error:  # what is botocore's own may have another name one day
        log.info(LEFT_TO_BOTO3, error)
    else:
        client.receive_message = partial(lean.call, "ReceiveMessage")
        client.delete_message_batch = partial(lean.call, "DeleteMessageBatch")
