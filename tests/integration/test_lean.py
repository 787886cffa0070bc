"""A lean client's two calls: what boto3 gives, raises and sends, at a server that answers what it is told to."""

import gzip
import json
import logging
import ssl
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import boto3
import botocore.session
import pytest
import wrapt
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError, HTTPClientError, SSLError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.connections import BOTOCORE, sqs_client
from include.sqs.lean import Template, make_lean
from include.sqs.reading import read_in_turn, waiting_for_room
from tests.support.answering import serving, write_certificate

RECEIVE, DELETE = "ReceiveMessage", "DeleteMessageBatch"
CALLS = {
    RECEIVE: ("receive_message", {"QueueUrl": "http://q", "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}),
    DELETE: ("delete_message_batch", {"QueueUrl": "http://q", "Entries": [{"Id": "0", "ReceiptHandle": "é"}]}),
}
SECRET = "made-up-secret"
ONCE = "boto3 receives and deletes"


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(request, monkeypatch):
    """No waiting before another try; nothing seen."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        server.seen.clear()
        server.answer = (200, {}, b"{}")


def plain_client(url, *, tries=2, session=None, token=None, verify=None, **config):
    retries = {"mode": "standard", "total_max_attempts": tries}
    return (session or boto3.session.Session()).client(
        "sqs",
        endpoint_url=url,
        region_name="eu-west-1",
        verify=verify,
        **({} if session else {"aws_access_key_id": "id", "aws_secret_access_key": SECRET, "aws_session_token": token}),
        config=BOTOCORE.merge(Config(retries=retries, **config)),
    )


def lean_client(url, **options):
    client = plain_client(url, **options)
    make_lean(client)
    read_in_turn(client)
    return client


def ask(client, operation):
    method, call = CALLS[operation]
    return getattr(client, method)(**call)


def learned(client):
    """The client, when each operation has its template."""
    for operation in CALLS:
        ask(client, operation)
    return client


def learnt(client):
    """What is known of each operation."""
    return client.receive_message.func.__self__._learned  # noqa: SLF001 - nobody else asks


def is_lean(call):
    """Whether the call was made from a template, in which the names of headers have lower case."""
    return "x-amz-target" in call.headers.keys()  # noqa: SIM118 - `in` the message itself ignores case


def outcome(client, operation):
    """What a call gives or raises, as far as anybody looks."""
    try:
        answer = ask(client, operation)
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        told = {
            name: metadata.get(name) for name in ("HTTPStatusCode", "RetryAttempts", "MaxAttemptsReached", "RequestId")
        }
        return type(error).__name__, error.response["Error"], error.operation_name, told
    except Exception as error:  # noqa: BLE001 - botocore lets some through
        return type(error), str(error)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


TEXT = st.text(max_size=12) | st.sampled_from(["\ud800", "é\U0001f600", "\0", "a" * 100, '"\\'])
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | TEXT, st.lists, max_leaves=4)
BINARY = st.sampled_from(["AQID", "_-8=", "A", "é", "AQI=D", ""])


def some(members):
    """An object with some of these members, of which one may be anything, and perhaps one that nobody knows."""
    return st.fixed_dictionaries({}, optional={**members, "Unknown": ANY})


def mostly(strategy):
    return st.one_of(*[strategy] * 8, ANY)


ATTRIBUTE = some({"DataType": mostly(TEXT), "StringValue": mostly(TEXT), "BinaryValue": mostly(BINARY)})
MESSAGE = some(
    {
        "MessageId": mostly(TEXT),
        "ReceiptHandle": mostly(TEXT),
        "MD5OfBody": mostly(TEXT),
        "Body": mostly(TEXT),
        "Attributes": mostly(st.dictionaries(TEXT, mostly(TEXT), max_size=2)),
        "MessageAttributes": mostly(st.dictionaries(TEXT, mostly(ATTRIBUTE), max_size=2)),
    }
)
ENTRY = some({"Id": mostly(TEXT), "SenderFault": mostly(st.booleans()), "Code": mostly(TEXT), "Message": mostly(TEXT)})
ERROR = some({"__type": mostly(TEXT | st.sampled_from(["com.amazonaws.sqs#QueueDoesNotExist", "RequestThrottled"]))})
ANSWER = some(
    {
        "Messages": mostly(st.lists(mostly(MESSAGE), max_size=3)),
        "Successful": mostly(st.lists(mostly(ENTRY), max_size=3)),
        "Failed": mostly(st.lists(mostly(ENTRY), max_size=3)),
    }
)
JSON = st.one_of(ANSWER, ERROR, ANY).map(lambda value: json.dumps(value).encode())
BODY = JSON | st.sampled_from(
    [b"", b"<html>503</html>", b"<html>", b"\xff\xfe", b'{"Messages":[', gzip.compress(b"{}")]
)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 403, 413, 429, 500, 503])
HEADERS = st.sampled_from(
    [
        {},
        {"x-amzn-RequestId": "5f2f"},
        {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
        {"Transfer-Encoding": "chunked"},
        {"Content-Length": "1000"},  # and the connection ends before
        {"Content-Encoding": "gzip"},
        {"x-amz-retry-after": "1"},
    ]
)


@pytest.fixture(scope="module")
def both(server):
    server.answer = (200, {}, b"{}")
    return learned(plain_client(server.url)), learned(lean_client(server.url))


SKEWED = json.dumps({"__type": "com.amazonaws.sqs#RequestTimeTooSkewed", "message": "too late"}).encode()


@settings(max_examples=250, deadline=None)
@given(operation=st.sampled_from([RECEIVE, DELETE]), status=STATUS, headers=HEADERS, body=BODY)
@example(operation=RECEIVE, status=403, headers={}, body=SKEWED)
@example(operation=RECEIVE, status=413, headers={}, body=b"<html><body>too large</body></html>")
@example(operation=RECEIVE, status=200, headers={"Content-Encoding": "gzip"}, body=gzip.compress(b'{"Messages":[]}'))
@example(operation=RECEIVE, status=200, headers={}, body=b'{"Messages":[{"Body":"\\ud800"}]}')
@example(operation=DELETE, status=200, headers={}, body=b'{"Failed":[{"Id":"0","SenderFault":true,"Code":"x"}]}')
@example(operation=DELETE, status=200, headers={}, body=b'{"Failed":[{"Id":"0","SenderFault":"yes"}]}')
def test_it_gives_and_raises_what_boto3_does_after_as_many_tries(server, both, operation, status, headers, body):
    if status == 204:
        body, headers = b"", {}
    server.answer = (status, headers, body)
    outcomes, tries = [], []
    for client in both:
        server.seen.clear()
        outcomes.append(outcome(client, operation))
        tries.append(len(server.seen))
        assert is_lean(server.seen[0]) is (client is both[1])
    assert outcomes[0] == outcomes[1]
    assert tries[0] == tries[1]


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@given(
    key=st.builds(ReadOnlyCredentials, PRINTABLE, st.text(max_size=40), st.none() | PRINTABLE),
    same=st.dictionaries(st.sampled_from(["x-amz-target", "x-amzn-query-mode", "content-type"]), PRINTABLE),
    place=st.tuples(*[st.from_regex(r"[a-z0-9-]+", fullmatch=True)] * 2),
    body=st.binary(),
    host=st.sampled_from(["sqs.eu-west-1.amazonaws.com", "127.0.0.1:4566", "[::1]:80"]),
    now=st.datetimes(timezones=st.just(UTC)),
)
@settings(deadline=None)
def test_it_signs_as_botocore_does(key, same, place, body, host, now):
    region, service = place
    url, date = f"https://{host}/", f"{now:%Y%m%dT%H%M%SZ}".rjust(16, "0")
    headers = Template(url, same, {*same, "x-amz-date"}, f"{region}/{service}/aws4_request").headers(
        body, key, date=date, call_id="x"
    )
    request = AWSRequest("POST", url, {**same, "X-Amz-Date": date}, body)
    request.context["timestamp"] = date
    if key.token:
        request.headers["X-Amz-Security-Token"] = key.token
    auth = SigV4Auth(key, service, region)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert headers["authorization"].endswith(f"Signature={signature}")


def test_from_its_second_call_on_an_operation_is_lean_and_sends_what_boto3_sends(server):
    client = learned(lean_client(server.url, token="token"))
    learned(client)
    first, _, second, _ = server.seen
    assert (is_lean(first), is_lean(second)) == (False, True)
    assert json.loads(first.body) == json.loads(second.body)
    assert {name.lower() for name in first.headers} == {name.lower() for name in second.headers}
    changed = {name.lower() for name in first.headers if first.headers[name] != second.headers[name]}
    # boto3 writes JSON with spaces.
    assert changed - {"x-amz-date"} == {"amz-sdk-invocation-id", "authorization", "content-length"}


def test_the_pipelines_client_is_lean(connected, queue_url):
    client = sqs_client()
    for _ in range(2):
        client.receive_message(QueueUrl=queue_url)
        client.delete_message_batch(QueueUrl=queue_url, Entries=[{"Id": "0", "ReceiptHandle": "made up"}])
    assert learnt(client).keys() == CALLS.keys()


def test_all_calls_share_a_connection(server):
    client = learned(lean_client(server.url))
    for _ in range(5):
        learned(client)
    assert len({call.port for call in server.seen}) == 1


def test_an_answer_waits_for_room_once(server):
    client = learned(lean_client(server.url))
    server.answer = (200, {}, b'{"Messages":[]}')
    server.seen.clear()
    asked = []
    with waiting_for_room(asked.append):
        ask(client, RECEIVE)
    assert asked == [15]
    assert len(server.seen) == 1


def test_credentials_that_expire_are_renewed_in_the_middle(server):
    renewed, minutes = iter(range(10)), 60

    def renew():
        number = next(renewed)
        expires = datetime.now(UTC) + timedelta(minutes=minutes)
        return {
            "access_key": f"id{number}",
            "secret_key": SECRET,
            "token": f"token{number}",
            "expiry_time": expires.isoformat(),
        }

    session = botocore.session.Session()
    credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "made up")
    session._credentials = credentials  # noqa: SLF001
    client = lean_client(server.url, session=boto3.session.Session(botocore_session=session))
    for _ in range(2):
        ask(client, RECEIVE)
    minutes = 1  # which is so soon that each call renews them
    credentials._expiry_time = datetime.now(UTC)  # noqa: SLF001
    for _ in range(3):
        ask(client, RECEIVE)
    assert [is_lean(call) for call in server.seen] == [False, True, True, True, True]
    tokens = [call.headers["X-Amz-Security-Token"] for call in server.seen]
    assert tokens == [f"token{number}" for number in (0, 0, 1, 2, 3)]
    assert all(
        f"Credential=id{token.removeprefix('token')}/" in call.headers["Authorization"]
        for call, token in zip(server.seen, tokens, strict=True)
    )


def test_a_server_that_is_silent_is_tried_as_often_as_boto3_does(server):
    client = learned(lean_client(server.url, read_timeout=0.2))
    wait = threading.Event()

    def silent():
        wait.wait(2)
        return 200, {}, b"{}"

    server.seen.clear()
    server.answer = silent
    with pytest.raises(HTTPClientError, match="Read timeout"):
        ask(client, RECEIVE)
    wait.set()
    assert [is_lean(call) for call in server.seen] == [True, False]


@pytest.mark.parametrize("make", [plain_client, lean_client])
def test_where_many_calls_fail_none_is_tried_again_until_some_have_succeeded(server, make):
    client = learned(make(server.url))

    def tries():
        server.seen.clear()
        server.answer = (503, {}, b"")
        with pytest.raises(ClientError):
            ask(client, DELETE)
        server.answer = (200, {}, b"{}")
        return len(server.seen)

    assert [tries() for _ in range(36)] == [2] * 35 + [1]  # 500 by 14
    for _ in range(14):
        ask(client, DELETE)
    assert [tries(), tries()] == [2, 1]


def test_a_server_that_is_gone_is_an_error_of_boto3s():
    with serving() as gone:
        gone.answer = (200, {"Connection": "close"}, b"{}")
        both = [learned(make(gone.url)) for make in (plain_client, lean_client)]
    plain, lean = (outcome(client, DELETE) for client in both)
    assert plain == lean
    assert "EndpointConnectionError" in str(plain[0])


def test_neither_bodies_nor_secrets_are_in_logs_or_texts(server, caplog):
    client = lean_client(server.url, token="made-up-token")
    server.answer = (200, {}, json.dumps({"Messages": [{"Body": "raw value"}]}).encode())
    logging.getLogger("botocore").setLevel(logging.INFO)  # as in sqs_client
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            ask(client, RECEIVE)
        server.answer = (400, {}, b'{"__type":"made up","message":"m"}')
        with pytest.raises(ClientError) as raised:
            ask(client, RECEIVE)
    told = caplog.text + str(raised.value) + repr(learnt(client))
    assert not any(word in told for word in ("raw value", SECRET, "made-up-token"))


def test_where_a_call_is_ended_no_variable_has_the_secret(server):
    """As a traceback may show them, which ends up in the task's log."""
    client = learned(lean_client(server.url))

    def give_up(length):
        raise RuntimeError

    with pytest.raises(RuntimeError) as raised, waiting_for_room(give_up):
        ask(client, RECEIVE)
    own = [entry for entry in raised.traceback if "include" in entry.path.parts]
    assert {entry.name for entry in own} >= {"call", "_send"}
    assert [entry.name for entry in own if SECRET in repr(entry.frame.f_locals)] == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    write_certificate(path)
    return path


@pytest.fixture
def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(context) as server:
        yield server


def test_a_bundle_of_certificates_counts(secure, certificate):
    learned(learned(lean_client(secure.url, verify=str(certificate))))
    assert [is_lean(call) for call in secure.seen] == [False, False, True, True]
    with pytest.raises(SSLError):
        ask(lean_client(secure.url), RECEIVE)


@pytest.mark.parametrize("secured", [False, True])
def test_a_proxy_is_used_with_its_password(server, secure, certificate, secured):
    proxy = server.url.replace("://", "://user:password@")
    asked = secure.url if secured else "http://sqs.invalid"
    options = {"proxies": {"http": proxy, "https": proxy}, "verify": str(certificate)}
    learned(learned(lean_client(asked, **options)))
    assert all(call.headers["Proxy-Authorization"] for call in server.seen)
    if secured:
        assert {call.path for call in server.seen} == {secure.url.removeprefix("https://")}
        assert [is_lean(call) for call in secure.seen] == [False, False, True, True]
        assert not any("Proxy-Authorization" in call.headers for call in secure.seen)
    else:
        assert {call.path for call in server.seen} == {"http://sqs.invalid/"}
        assert [is_lean(call) for call in server.seen] == [False, False, True, True]


def follow(client, monkeypatch):
    client.meta.events.register("after-call.sqs", lambda **_: None)


def add_a_header(client, monkeypatch):
    emitter = client.meta.events

    def add(request, **_):
        request.headers["x-of-mine"] = "1"

    add.__module__ = "botocore.handlers"  # as if a new version of botocore did it
    emitter.register("before-sign.sqs", add)


def change_the_body(client, monkeypatch):
    def change(params, **_):
        params["body"] = json.dumps({**json.loads(params["body"]), "WaitTimeSeconds": 1}).encode()

    change.__module__ = "botocore.handlers"
    client.meta.events.register("before-call.sqs", change)


def trace(client, monkeypatch):
    def traced(wrapped, instance, args, kwargs):
        return wrapped(*args, **kwargs)

    makes_calls = vars(BaseClient)["_make_api_call"]
    monkeypatch.setattr(BaseClient, "_make_api_call", wrapt.FunctionWrapper(makes_calls, traced))


@pytest.mark.parametrize(
    ("disturb", "options", "because"),
    [
        (follow, {}, "test_lean"),
        (add_a_header, {}, "another authorization, x-of-mine"),
        (change_the_body, {}, "another body"),
        (trace, {}, "_wrappers"),
        (None, {"signature_version": UNSIGNED}, "AttributeError"),
        (None, {"path": "/below"}, "another authorization"),
    ],
)
def test_what_cannot_be_made_again_is_left_to_boto3_which_is_said_once(
    server, caplog, monkeypatch, disturb, options, because
):
    client = lean_client(server.url + options.pop("path", ""), **options)
    if disturb:
        disturb(client, monkeypatch)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            learned(client)
    assert not any(map(is_lean, server.seen))
    assert len(server.seen) == 6
    [said] = [record.getMessage() for record in caplog.records if ONCE in record.getMessage()]
    assert because in said


def test_a_botocore_with_other_names_is_used_as_it_comes(server, caplog):
    client = plain_client(server.url)
    with caplog.at_level(logging.INFO):
        make_lean(SimpleNamespace(meta=client.meta))
    assert "_endpoint" in caplog.text


def test_a_request_that_was_a_second_try_is_no_template(server):
    client = lean_client(server.url)
    answers = iter([(503, {}, b"")])
    server.answer = lambda: next(answers, (200, {}, b"{}"))
    for _ in range(3):
        ask(client, RECEIVE)
    assert [is_lean(call) for call in server.seen] == [False, False, False, True]
