"""What docker-compose.yaml runs in its containers, run here."""

import re
import threading
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl

import pytest

from deploy.compose import relay, seed
from sandbox.events import sample_events

ANSWER = (
    '<{action}Response xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Result>{content}</Result></{action}Response>'
)


@pytest.fixture
def login_queue(local, queue_url, monkeypatch):
    """The URL of a fresh queue, which the scripts take for the one of the containers."""
    for script in (relay, seed):
        monkeypatch.setattr(script, "CONTAINERS", local.sqs)
        monkeypatch.setattr(script, "QUEUE", queue_url.rsplit("/", 1)[1])
    return queue_url


@pytest.fixture
def old_queue(monkeypatch):
    """The bodies on a queue that speaks SQS's Query protocol, as the exercise's LocalStack does."""
    bodies = list(sample_events(25, 1))

    class Queue(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            content = ""
            if asked["Action"] == "ReceiveMessage":
                for body in bodies[: int(asked["MaxNumberOfMessages"])]:
                    content += (
                        f"<Message><ReceiptHandle>{escape(body)}</ReceiptHandle><Body>{escape(body)}</Body></Message>"
                    )
            elif asked["Action"] == "DeleteMessage":
                bodies.remove(asked["ReceiptHandle"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ANSWER.format(action=asked["Action"], content=content).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Queue) as server:
        monkeypatch.setattr(relay, "SOURCE", f"http://127.0.0.1:{server.server_port}/000000000000/login-queue")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield bodies
        server.shutdown()
        thread.join()


def received(sqs, url):
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in messages]
    return bodies


def test_the_exercises_messages_are_moved_once(sqs, login_queue, old_queue, capsys):
    relay.main()
    relay.main()
    assert re.findall(r"Moved (\d+) messages", capsys.readouterr().out) == ["25", "0"]
    assert sorted(received(sqs, login_queue)) == sorted(sample_events(25, 1))
    assert old_queue == []


def test_sample_events_are_sent_and_counted(sqs, login_queue, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["seed", "25", "--seed", "1"])
    seed.main()
    assert capsys.readouterr().out == "Sent 25 sample events (seed 1). On the queue: 25 waiting, 0 in flight.\n"
    assert sorted(received(sqs, login_queue)) == sorted(sample_events(25, 1))
    monkeypatch.setattr("sys.argv", ["seed", "0", "--seed", "1"])
    seed.main()
    assert capsys.readouterr().out == "Sent 0 sample events (seed 1). On the queue: 0 waiting, 25 in flight.\n"


def test_too_many_sample_events_are_refused(login_queue, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["seed", "50000"])
    with pytest.raises(SystemExit):
        seed.main()
    assert "50000 is not a number from 0 to 5,000" in capsys.readouterr().err
