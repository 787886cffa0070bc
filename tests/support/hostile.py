"""Message bodies that nobody should send: a corpus, with what must become of each, and a fuzzer."""

# ruff: noqa: RUF001 - letters that look like Latin ones belong to it

import base64
import gzip
import json
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

FIELDS = ("user_id", "app_version", "device_type", "ip", "locale", "device_id")
MEBIBYTE = 2**20  # the longest body that SQS takes
GZIPPED = gzip.compress(b'{"user_id": "u"}', mtime=0)


def row(user_id="u", **fields):
    """What is to be loaded: the version packed, `ip` and `device_id` in the spelling that is masked."""
    return dict.fromkeys(FIELDS) | {"user_id": user_id} | fields


def object_of(*members):
    """An object of names and JSON texts, in their order and with their repetitions."""
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in members) + "}"


def flat(**fields):
    return object_of(*({"user_id": '"u"'} | fields).items())


def sns(message, *members):
    """A text inside an SNS notification."""
    return object_of(("Type", '"Notification"'), ("Message", json.dumps(message)), *members)


def eventbridge(detail, *members):
    """A JSON text inside an EventBridge event."""
    return object_of(("detail-type", '"Login"'), ("detail", detail), *members)


def nested(levels):
    return "[" * levels + "]" * levels


def filled(start, part, end):
    """`part` repeated until the body is as long as SQS takes it."""
    return start + part * ((MEBIBYTE - len((start + end).encode())) // len(part.encode())) + end


# As long as can be, of every kind that could be slow.
LONGEST = {
    "1 MiB of one user": (filled('{"user_id": "', "u", '"}'), "user_id: string_too_long"),
    "1 MiB of emoji": (filled('{"user_id": "', "😀", '"}'), "user_id: string_too_long"),
    "1 MiB of NUL": (filled('{"user_id": "', "\\u0000", '"}'), "user_id: string_too_long"),
    "1 MiB of a version": (filled('{"user_id": "u", "app_version": "', "1.", '"}'), row()),
    "1 MiB of an ignored text": (filled('{"user_id": "u", "x": "', "\\u0041", '"}'), row()),
    "1 MiB of white space": (filled('{"user_id": "u"', " ", "}"), row()),
    "1 MiB of an array": (filled('{"user_id": "u", "x": [', "{},", "1]}"), row()),
    "1 MiB of decimals": (filled('{"user_id": "u", "x": 0.', "1", "}"), row()),
    "1 MiB of an exponent": (filled('{"user_id": "u", "x": 1e', "1", "}"), row()),
    "1 MiB of long integers": (filled('{"user_id": "u", "x": [', "9" * 4300 + ",", "1]}"), row()),
    "1 MiB of a repeated key": (filled("{", '"user_id": "u", ', '"x": 1}'), row()),
    "1 MiB of a repeated fault": (filled("{", '"user_id": 5, ', '"ip": 1}'), "ip: string_type; user_id: string_type"),
    "1 MiB of members": (filled("{", '"x": {}, ', '"detail-type": 1, "detail": {"user_id": "u"}}'), row()),
    "1 MiB of a message": (filled('{"Type": "Notification", "Message": "', "\\u005b", '"}'), "Message: json_invalid"),
    "1 MiB of a detail": (filled('{"detail-type": 1, "detail": {"x": [', "{},", '1], "user_id": "u"}}'), row()),
    "1 MiB of a detail's text": (filled('{"detail-type": 1, "detail": "{', " ", '}"}'), "user_id: missing"),
    "1 MiB of details": (filled("", '{"detail-type":1,"detail":', ""), "body: json_invalid"),
    "1 MiB of names": (filled('{"x": "', '\\"user_id', '"}'), "user_id: missing"),
    "1 MiB of backslashes behind a name": (filled('{"x": "\\"user_id', "\\\\", '"}'), "user_id: missing"),
    "1 MiB of spaces behind a name": (filled('{"x": "\\"user_id\\"', " ", '"}'), "user_id: missing"),
    "1 MiB of openings": ("[" * MEBIBYTE, "body: json_invalid"),
    "1 MiB of opened objects": (filled("", '{"user_id":', ""), "body: json_invalid"),
    "1 MiB of quotes": ('"' * MEBIBYTE, "body: json_invalid"),
    "1 MiB of backslashes": ("\\" * MEBIBYTE, "body: json_invalid"),
}

# name → body, and its row or its reason
CORPUS = LONGEST | {
    # no JSON
    "empty": ("", "body: json_invalid"),
    "white space": (" \r\n\t", "body: json_invalid"),
    "byte order mark": ("\ufeff" + flat(), row()),
    "byte order mark, twice": ("\ufeff\ufeff" + flat(), "body: json_invalid"),
    "byte order mark behind white space": (" \ufeff" + flat(), "body: json_invalid"),
    "byte order mark behind": (flat() + "\ufeff", "body: json_invalid"),
    "byte order mark in a user": (flat(user_id='"\ufeffu"'), row("\ufeffu")),
    "byte order mark and no user": ("\ufeff{}", "user_id: missing"),
    "byte order mark alone": ("\ufeff", "body: json_invalid"),
    "byte order mark in a notification": (sns("\ufeff" + flat()), row()),
    "byte order mark around a notification": ("\ufeff" + sns("\ufeff" + flat()), row()),
    "byte order mark in a detail": (eventbridge(json.dumps("\ufeff" + flat())), row()),
    "byte order mark of other bytes": ("\xef\xbb\xbf" + flat(), "body: json_invalid"),
    "no-break space around": ("\xa0" + flat(), "body: json_invalid"),
    "two events": (flat() + flat(), "body: json_invalid"),
    "NUL behind": (flat() + "\0", "body: json_invalid"),
    "truncated": (flat()[:-1], "body: json_invalid"),
    "comma before the end": ('{"user_id": "u",}', "body: json_invalid"),
    "comment": ('{"user_id": "u" /* x */}', "body: json_invalid"),
    "single quotes": ("{'user_id': 'u'}", "body: json_invalid"),
    "form": ("user_id=u&ip=192.0.2.1", "body: json_invalid"),
    "XML": ("<user_id>u</user_id>", "body: json_invalid"),
    "gzip": (GZIPPED.decode("latin-1"), "body: json_invalid"),
    "gzip in base64": (base64.b64encode(GZIPPED).decode(), "body: json_invalid"),
    "event in base64": (base64.b64encode(flat().encode()).decode(), "body: json_invalid"),
    "event in quotes": (json.dumps(flat()), "body: not_an_object"),
    "event in a list": (f"[{flat()}]", "body: not_an_object"),
    "number": ("5", "body: not_an_object"),
    "not a number": ("NaN", "body: not_an_object"),
    # characters
    "raw NUL": (flat(user_id='"a\0b"'), "body: json_invalid"),
    "raw line feed": (flat(user_id='"a\nb"'), "body: json_invalid"),
    "raw lone surrogate": (flat(user_id='"\ud800"'), "body: lone_surrogate"),
    "raw lone surrogate in an ignored key": ('{"user_id": "u", "\udc00": 1}', "body: lone_surrogate"),
    "raw surrogate pair": (flat(user_id='"\ud83d\ude00"'), "body: lone_surrogate"),
    "raw lone surrogate in no JSON": ("\udfff", "body: lone_surrogate"),
    "escaped NUL": (flat(user_id='"a\\u0000b"'), "user_id: nul_character"),
    "escaped NUL behind a line feed": (flat(locale='"a\\n\\u0000"'), "locale: nul_character"),
    "escaped NUL in an ignored field": (flat(x='"\\u0000"'), row()),
    "escaped lone surrogate": (flat(user_id='"\\ud800"'), "body: json_invalid"),
    "escaped lone surrogate in an ignored field": (flat(x='"\\ud800"'), "body: json_invalid"),
    "escaped lone surrogate in a notification": (sns(flat(ip='"\\udc00"')), "Message: json_invalid"),
    "escaped surrogates the wrong way round": (flat(user_id='"\\ude00\\ud83d"'), "body: json_invalid"),
    "escaped surrogate pair": (flat(user_id='"\\ud83d\\ude00"'), row("😀")),
    "escaped key": ('{"user\\u005fid": "u"}', row()),
    "unknown escape": (flat(user_id='"\\x41"'), "body: json_invalid"),
    "cut-off escape": (flat(user_id='"\\u00"'), "body: json_invalid"),
    "control characters": (flat(user_id='"\\u0001\x7f"'), row("\x01\x7f")),
    "noncharacters": (flat(user_id='"\\uffff\\ufffe"'), row("\uffff\ufffe")),
    "other alphabets": (flat(user_id='"用户 émigré ไทย"', locale='"РУ"'), row("用户 émigré ไทย", locale="РУ")),
    "right to left": (flat(user_id='"\u202eשלום مرحبا"'), row("\u202eשלום مرحبا")),
    "composed and not": (flat(user_id='"\xe9e\u0301"'), row("\xe9e\u0301")),
    "SQL": (flat(user_id='"\'; drop table public.user_logins; --"'), row("'; drop table public.user_logins; --")),
    "templates": (flat(user_id='"{{ params }} {% x %} ${x} %s %(x)s"'), row("{{ params }} {% x %} ${x} %s %(x)s")),
    "what COPY reads as null and as its end": (flat(user_id='"\\\\N"', locale='"\\\\."'), row("\\N", locale="\\.")),
    "what text would be null in": (flat(user_id='"null"', locale='""'), row("null", locale="")),
    "white space for a user": (flat(user_id='" \\n"'), row(" \n")),
    # numbers and nesting, in a field that is ignored
    "NaN and infinities": (flat(x="[NaN, Infinity, -Infinity, 1e999, -0.0]"), row()),
    "other spellings of NaN": (flat(x="nan"), "body: json_invalid"),
    "4300 digits": (flat(x="9" * 4300), row()),
    "5000 digits": (flat(x="9" * 5000), "body: json_invalid"),
    "5000 digits before the point": (flat(x="9" * 5000 + ".5"), "body: json_invalid"),
    "5000 digits in an EventBridge event": (eventbridge(flat(), ("x", "9" * 5000)), "body: json_invalid"),
    "5000 digits in a notification": (sns(flat(x="9" * 5000)), "Message: json_invalid"),
    "leading zero": (flat(x="01"), "body: json_invalid"),
    "201 levels": (flat(x=nested(200)), row()),
    "202 levels": (flat(x=nested(201)), "body: json_invalid"),
    "201 levels in an EventBridge event": (eventbridge(flat(x=nested(199))), row()),
    "202 levels in an EventBridge event": (eventbridge(flat(), ("x", nested(201))), "body: json_invalid"),
    "201 levels in a notification": (sns(flat(x=nested(200))), row()),
    "202 levels in a notification": (sns(flat(x=nested(201))), "Message: json_invalid"),
    # keys
    "repeated key, the last one right": ('{"user_id": 5, "user_id": "u"}', row()),
    "repeated key, the last one wrong": ('{"user_id": "u", "user_id": 5}', "user_id: string_type"),
    "repeated message": (sns("x", ("Message", json.dumps(flat()))), row()),
    "repeated detail": (eventbridge(flat(), ("detail", "null")), "detail: not_an_object"),
    "a sender's key": ('{"ip 192.0.2.1": "192.0.2.1"}', "user_id: missing"),
    "another case": ('{"User_Id": "u"}', "user_id: missing"),
    "names that Python knows": (flat(self="1", __class__="{}", __args__="[]", __kwargs__='{"user_id": 5}'), row()),
    # fields
    "every field of a wrong type": (
        object_of(*((name, "5") for name in FIELDS)),
        "; ".join(f"{name}: string_type" for name in sorted(FIELDS) if name != "app_version"),
    ),
    "every field too long": (
        object_of(*((name, json.dumps("1" * 257)) for name in FIELDS)),
        "; ".join(f"{name}: string_too_long" for name in sorted(FIELDS) if name != "app_version"),
    ),
    "every field as long as can be": (
        flat(user_id=f'"{"😀" * 128}"', device_type=f'"{"д" * 32}"', ip=f'"{":" * 256}"', device_id=f'"{"ם" * 256}"'),
        row("😀" * 128, device_type="д" * 32, ip=":" * 256, device_id="ם" * 256),
    ),
    "no user": ('{"ip": "192.0.2.1"}', "user_id: missing"),
    "empty user": (flat(user_id='""'), "user_id: string_too_short"),
    "null user": (flat(user_id="null"), "user_id: string_type"),
    "all others null": (
        flat(app_version="null", device_type="null", ip="null", locale="null", device_id="null"),
        row(),
    ),
    "nothing to mask": (flat(ip='" \\u2003"', device_id='"\\t"'), row()),
    "no version": (flat(app_version='"2.3.0-beta"'), row()),
    "empty version": (flat(app_version='""'), row()),
    "version of other digits": (flat(app_version='"٢"'), row()),
    "version of mixed digits": (flat(app_version='"2.٣.0"'), row()),
    "version and a line feed": (flat(app_version='"2.3\\n"'), row()),
    "version beyond an integer": (flat(app_version='"2147.0.0"'), row()),
    "version with a v": (flat(app_version='"v2.3.0"'), row(app_version=2003000)),
    "version with a V": (flat(app_version='"V7"'), row(app_version=7000000)),
    "version with two of them": (flat(app_version='"vv2.3.0"'), row()),
    "version with suffix": (flat(app_version='"2.3.0-beta.1"'), row()),
    "version with build in brackets": (flat(app_version='"2.3.0 (456)"'), row()),
    "version with build number above 999": (flat(app_version='"10.2.1234"'), row()),
    "version with four parts": (flat(app_version='"16.2.34.0"'), row()),
    "version with plus": (flat(app_version='"2.3.0+456"'), row()),
    "version that is a number": (flat(app_version="2.3"), row()),
    "version that is a list": (flat(app_version='["2.3.0"]'), row()),
    "version that is an object": (flat(app_version='{"major": 2}'), row()),
    "version that is true": (flat(app_version="true"), row()),
    "version that is with NUL": (flat(app_version='"2.3\\u0000"'), row()),
    "version longer than its column": (flat(app_version=f'"{"1" * 33}"'), row()),
    "highest version": (flat(app_version='"2146.999.999"'), row(app_version=2146999999)),
    "version with zeros in front": (flat(app_version='"000000002.03"'), row(app_version=2003000)),
    "mapped address": (flat(ip='" ::FFFF:192.0.2.1\\n"'), row(ip="192.0.2.1")),
    "address with port": (flat(ip='"203.0.113.7:51234"'), row(ip="203.0.113.7")),
    "address with brackets": (flat(ip='"[2001:db8::7]"'), row(ip="2001:db8::7")),
    "address with brackets and a port": (flat(ip='"[2001:DB8::7]:443"'), row(ip="2001:db8::7")),
    "address with zone": (flat(ip='"FE80::1%eth0"'), row(ip="fe80::1")),
    "address with zone in brackets": (flat(ip='"[fe80::1%eth0]:443"'), row(ip="fe80::1")),
    "address with mapped and a port": (flat(ip='"[::ffff:192.0.2.1]:80"'), row(ip="192.0.2.1")),
    "address with open bracket": (flat(ip='"[2001:db8::7"'), row(ip="[2001:db8::7")),
    "address with letters for a port": (flat(ip='"192.0.2.1:http"'), row(ip="192.0.2.1:http")),
    "address with long port": (flat(ip='"192.0.2.1:123456"'), row(ip="192.0.2.1:123456")),
    "address with no port": (flat(ip='"192.0.2.1:"'), row(ip="192.0.2.1:")),
    "address with forwarders": (flat(ip='"192.0.2.1, 198.51.100.2"'), row(ip="192.0.2.1, 198.51.100.2")),
    "address with name and a port": (flat(ip='"host:80"'), row(ip="host:80")),
    "address with leading zeros": (flat(ip='"192.0.2.01"'), row(ip="192.0.2.01")),
    "address with other digits and a port": (flat(ip='"١.2.3.4:80"'), row(ip="١.2.3.4:80")),
    "unknown for an address": (flat(ip='"unknown"'), row()),
    "NULL for an address": (flat(ip='"NULL"'), row()),
    "None for an address": (flat(ip='"None"'), row()),
    "undefined for an address": (flat(ip='"undefined"'), row()),
    "NaN for an address": (flat(ip='"NaN"'), row()),
    "n/a for an address": (flat(ip='"n/a"'), row()),
    "0.0.0.0 for an address": (flat(ip='"0.0.0.0"'), row()),
    ":: for an address": (flat(ip='"::"'), row()),
    "0.0.0.0:80 for an address": (flat(ip='"0.0.0.0:80"'), row()),
    "[::]:443 for an address": (flat(ip='"[::]:443"'), row()),
    "::ffff:0.0.0.0 for an address": (flat(ip='"::ffff:0.0.0.0"'), row()),
    "00000000-0000-0000-0000-000000000000 for an address": (flat(ip='"00000000-0000-0000-0000-000000000000"'), row()),
    " Unknown  for an address": (flat(ip='" Unknown "'), row()),
    "unknown for a device": (flat(device_id='"unknown"'), row()),
    "NULL for a device": (flat(device_id='"NULL"'), row()),
    "None for a device": (flat(device_id='"None"'), row()),
    "undefined for a device": (flat(device_id='"undefined"'), row()),
    "nan for a device": (flat(device_id='"nan"'), row()),
    "N/A for a device": (flat(device_id='"N/A"'), row()),
    "0.0.0.0 for a device": (flat(device_id='"0.0.0.0"'), row()),
    ":: for a device": (flat(device_id='"::"'), row()),
    "00000000-0000-0000-0000-000000000000 for a device": (
        flat(device_id='"00000000-0000-0000-0000-000000000000"'),
        row(),
    ),
    " null  for a device": (flat(device_id='" null "'), row()),
    "UUID in capitals": (
        flat(device_id='"7C9E6679-7425-40DE-944B-E07FC1F90AE7"'),
        row(device_id="7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ),
    "UUID without dashes": (
        flat(device_id='"7C9E6679742540DE944BE07FC1F90AE7"'),
        row(device_id="7C9E6679742540DE944BE07FC1F90AE7"),
    ),
    "device in capitals": (flat(device_id='"ABC-1"'), row(device_id="ABC-1")),
    "nearly nothing": (flat(device_id='"unknown1"', ip='"0.0.0.1"'), row(device_id="unknown1", ip="0.0.0.1")),
    "address of other digits": (flat(ip='"١.2.3.4"'), row(ip="١.2.3.4")),
    # envelopes
    "notification": (sns(flat()), row()),
    "EventBridge event": (eventbridge(flat()), row()),
    "both envelopes": (sns(flat(), ("detail-type", "1"), ("detail", flat(user_id='"x"'))), row()),
    "notification in a notification": (sns(sns(flat())), row()),
    "notification in two": (sns(sns(sns(flat()))), row()),
    "notification in three": (sns(sns(sns(sns(flat())))), "body: unknown_envelope"),
    "nothing in four notifications": (sns(sns(sns(sns("{}")))), "body: unknown_envelope"),
    "EventBridge event in a notification": (sns(eventbridge(flat())), row()),
    "EventBridge event in two notifications": (sns(sns(eventbridge(flat()))), row()),
    "EventBridge event in three notifications": (sns(sns(sns(eventbridge(flat())))), "body: unknown_envelope"),
    "notification in an EventBridge event": (eventbridge(sns(flat())), row()),
    "notification in an EventBridge event's text": (eventbridge(json.dumps(sns(flat()))), row()),
    "EventBridge event in two": (eventbridge(eventbridge(eventbridge(flat()))), row()),
    "EventBridge event in three": (
        eventbridge(eventbridge(eventbridge(eventbridge(flat())))),
        "body: unknown_envelope",
    ),
    "detail's text in a notification": (sns(eventbridge(json.dumps(flat()))), row()),
    "text of a detail's text": (eventbridge(json.dumps(eventbridge(json.dumps(flat())))), row()),
    "no user in an EventBridge event in a notification": (sns(eventbridge('{"ip": "192.0.2.1"}')), "user_id: missing"),
    "fault in an EventBridge event in a notification": (sns(eventbridge(flat(ip="1"))), "ip: string_type"),
    "broken text in a notification in a notification": (sns(sns("{")), "Message: json_invalid"),
    "broken text in a detail in a notification": (sns(eventbridge('"{"')), "detail: json_invalid"),
    "list in a detail in a notification": (sns(eventbridge("[1]")), "detail: not_an_object"),
    "event as EventBridge sends it": (
        object_of(
            ("version", '"0"'),
            ("id", '"17793124-05d4-b198-2fde-7ededc63b103"'),
            ("detail-type", '"Login"'),
            ("source", '"app"'),
            ("account", '"123456789012"'),
            ("time", '"2026-01-31T00:00:00Z"'),
            ("region", '"eu-west-1"'),
            ("resources", "[]"),
            ("detail", flat()),
        ),
        row(),
    ),
    "detail without a type": (object_of(("detail", flat())), "body: unknown_envelope"),
    "message without a type": (object_of(("Message", json.dumps(flat()))), "body: unknown_envelope"),
    "message of another type": (
        object_of(("Type", '"UnsubscribeConfirmation"'), ("Message", json.dumps(flat()))),
        "body: unknown_envelope",
    ),
    "another case of an envelope": (
        object_of(("type", '"Notification"'), ("message", json.dumps(flat()))),
        "body: unknown_envelope",
    ),
    "records of a Lambda function": (f'{{"Records": [{{"body": {json.dumps(flat())}}}]}}', "body: unknown_envelope"),
    "event below data": (f'{{"data": {{"attributes": {flat()}}}}}', "body: unknown_envelope"),
    "event below data, in a notification": (sns(f'{{"data": {flat()}}}'), "body: unknown_envelope"),
    "event below data, in an EventBridge event": (eventbridge(f'{{"data": {flat()}}}'), "body: unknown_envelope"),
    "event in a text of a text": (f'{{"a": {json.dumps(json.dumps(json.dumps(flat())))}}}', "body: unknown_envelope"),
    "unknown envelope with faults": (f'{{"ip": 5, "data": {flat()}}}', "body: unknown_envelope"),
    "unknown envelope with spaces": ('{"data": {"user_id" \n : "u"}}', "body: unknown_envelope"),
    "event in base64 in an envelope": (
        f'{{"data": "{base64.b64encode(flat().encode()).decode()}"}}',
        "user_id: missing",
    ),
    "talk of a user": ('{"error": "no \\"user_id\\" in it"}', "user_id: missing"),
    "name that ends alike": ('{"data": {"old_user_id": "u"}}', "user_id: missing"),
    "user beside a notification": (sns(flat(user_id='"x"'), ("user_id", '"u"')), row()),
    "message that is no text": ('{"Type": "Notification", "Message": {"user_id": "u"}}', row()),
    "message that is null": ('{"Type": "Notification", "Message": null}', "Message: not_an_object"),
    "message that is a number": ('{"Type": "Notification", "Message": 5}', "Message: not_an_object"),
    "message that is null in quotes": (sns("null"), "Message: not_an_object"),
    "message that is no event": (sns("[]"), "Message: not_an_object"),
    "message with NUL": (sns(flat(user_id='"a\\u0000"')), "user_id: nul_character"),
    "empty message": (sns(""), "Message: json_invalid"),
    "another type": ('{"Type": "SubscriptionConfirmation", "Message": "{}"}', "user_id: missing"),
    "type that is no text": ('{"Type": ["Notification"], "Message": "{}"}', "user_id: missing"),
    "detail in quotes": (eventbridge(json.dumps(flat())), row()),
    "detail in two quotes": (eventbridge(json.dumps(json.dumps(flat()))), "detail: not_an_object"),
    "empty detail": (eventbridge('""'), "detail: json_invalid"),
    "detail with numbers of all kinds": (eventbridge(flat(x="[NaN, -Infinity, 1e999, -0.0, 1e-9, 5]")), row()),
    "detail with 4300 digits": (eventbridge(flat(x="9" * 4300)), row()),
    "detail with a surrogate pair": (eventbridge(flat(user_id='"\\ud83d\\ude00"')), row("😀")),
    "detail with NUL": (eventbridge(flat(ip='"\\u0000"')), "ip: nul_character"),
    "detail with a repeated key": (eventbridge('{"user_id": 5, "user_id": "u"}'), row()),
    "detail with an escaped key": (eventbridge('{"user\\u005fid": "u"}'), row()),
    "detail of a wrong type": (eventbridge('{"ip": 1}'), "ip: string_type; user_id: missing"),
}

GOOD = {
    "user_id": ("424cdd21-063a-43a7-b91b-7ca1a833afae", "用户", "😀" * 128, "\u202eשלום", "'; drop table x; --", " "),
    "app_version": ("2.3.0", "0.96", "7", "2146.999.999", "000000002.1", None),
    "device_type": ("android", "ios", "{{ params }}", "\\N", "", None),
    "ip": ("199.172.111.135", "::FFFF:192.0.2.1", "2001:DB8::1", "fe80::1%Eth0", " 192.0.2.1\n", "unknown", " ", None),
    "locale": ("RU", "pt_BR", "\\.", "\t", "ไทย", None),
    "device_id": ("593-47-5928", " 593-47-5928 ", "%s %(x)s", "d" * 256, "", None),
}
ODD = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-0", "01", "nan", "5", "1.5", "true", "null", "[]", "{}"),
    *('""', '" "', '"\\u0000"', '"a\0b"', '"\\ud800"', '"\ud800"', '"\\ud83d\\ude00"', '"\\x"', '"\x7f"', '"\n"'),
    *(f'"{"1" * length}"' for length in (32, 33, 128, 129, 256, 257)),
    *('"2147.0.0"', '"1.1000"', '"1.2.3.4"', '"٢"', '"2.٣"', '"1.\\n"', '"1234567890"', "9" * 4300, "9" * 5000),
    *(nested(150), nested(200), nested(201)),
    *(json.dumps(text) for text in (GZIPPED.decode("latin-1"), base64.b64encode(GZIPPED).decode(), flat())),
)
SPLINTERS = (*'{}[]",:\\\0\ufeff\ud800\udc00\x7f e-.9', "\\u", "\\ud83d", "null", '"user_id": ', '"Message": ', "/**/")

texts = (
    st.text(st.characters(codec=None), max_size=40)
    | st.text("0123456789abF:.%/ ", max_size=20)  # nearly an address, or a version
    | st.ip_addresses().map(str)
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "x"]) | texts, inner),
    max_leaves=6,
)


@dataclass(frozen=True)
class Recipe:
    """Many bodies at the price of one: hypothesis draws the ingredients, a seeded generator mixes them."""

    seed: int
    texts: list[str]
    trees: list[object]

    def bodies(self, count):
        mixer = _Mixer(self)
        return [mixer.body() for _ in range(count)]


recipes = st.builds(
    Recipe,
    st.integers(0, 2**64 - 1),
    st.lists(texts, min_size=10, max_size=10),
    st.lists(trees, min_size=5, max_size=5),
)


class _Mixer:
    def __init__(self, recipe):
        self.random = Random(recipe.seed)
        self.odd = [*ODD, *map(json.dumps, recipe.texts + recipe.trees)]
        self.odd += [json.dumps(text, ensure_ascii=False) for text in recipe.texts]
        self.noise = [*recipe.texts, *self.odd, "", GZIPPED.decode("latin-1")]

    def body(self):
        text = self.enveloped(self.event())
        return self.damaged(text) if self.random.random() < 0.2 else text

    def event(self):
        choice, chance = self.random.choice, self.random.random
        members = [
            (name, json.dumps(choice(GOOD[name]), ensure_ascii=chance() < 0.5))
            for name in FIELDS
            if chance() < (0.98 if name == "user_id" else 0.8)
        ]
        while chance() < 0.35:  # replaces a field, or repeats it, or is ignored
            odd = (choice((*FIELDS, "x", "Type", "detail")), choice(self.odd))
            if chance() < 0.7:
                members = [member for member in members if member[0] != odd[0]]
            members.insert(self.random.randint(0, len(members)), odd)
        return object_of(*members)

    def enveloped(self, event):
        choice, chance = self.random.choice, self.random.random
        while chance() < 0.4:
            extra = [(choice(("x", "user_id", "Message", "detail")), choice(self.odd))] if chance() < 0.15 else []
            if chance() < 0.1:
                event = choice((event, *self.odd))
            if chance() < 0.1:
                event = "\ufeff" + event
            if chance() < 0.5:
                event = sns(event, *extra)
            elif chance() < 0.1:
                event = object_of(("Message", event), ("Type", '"Notification"'))
            elif chance() < 0.2:
                event = object_of((choice(("data", "Records", "Message", "detail")), choice((event, f"[{event}]"))))
            else:
                event = eventbridge(choice((event, json.dumps(event))), *extra)
        return event

    def damaged(self, text):
        choice = self.random.choice
        start, end = sorted(self.random.randrange(len(text) + 1) for _ in range(2))
        match self.random.randrange(6):
            case 0:
                return text[:start]
            case 1:
                return text[:start] + text[end:]
            case 2:
                return text[:start] + choice(SPLINTERS) + text[start + 1 :]
            case 3:
                return text[:start] + choice(SPLINTERS) + text[start:]
            case 4:
                return choice(("\ufeff", " \r\n\t", "\xa0")) + text + choice(("", "\n", "\0", "x"))
            case _:
                return choice(self.noise)
