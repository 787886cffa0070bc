"""What a web server answers, also where it refuses."""

import json
import urllib.error
import urllib.request


def ask(url, person=None, body=None):
    """Status, type and text of what somebody gets; nobody in particular without a person. With a body it is a POST."""
    headers = {"Authorization": f"Bearer {person.token()}"} if person else {}
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent, headers | {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read().decode()
