"""Servers on 127.0.0.1 that keep what alerts send: mail, or what Slack would be posted."""

import json
import socketserver
import threading
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer


class Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs that speaks neither TLS nor a login."""

    def handle(self):
        self.say("220 sink")
        for line in self.rfile:
            command = line[:4].upper()
            if command == b"DATA":
                self.say("354 go on")
                self.server.kept.append(message_from_bytes(b"".join(self.lines()), policy=policy.default))
            elif command == b"RCPT" and b"nobody" in line:
                self.say("550 no such user")
                continue
            elif command == b"QUIT":
                return self.say("221 bye")
            self.say("250 ok")
        return None

    def lines(self):
        for line in iter(self.rfile.readline, b".\r\n"):
            yield line.removeprefix(b".")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Slack(BaseHTTPRequestHandler):
    """Takes each post to `/good/…`, and knows no other."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_good = self.path.startswith("/good/")
        if is_good:
            self.server.kept.append(json.loads(body)["text"])
        self.send_response(200 if is_good else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@contextmanager
def sink(handler):
    """Serve, and yield the port and the list of what has come."""
    server = (HTTPServer if handler is Slack else socketserver.ThreadingTCPServer)(("127.0.0.1", 0), handler)
    server.kept = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], server.kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_mail(port, **extra):
    """A connection's value, for an environment variable."""
    plain = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "to": "oncall@example.com"}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": plain | extra})


def text_of(mail):
    """A mail's text, without its markup."""
    [part] = [part for part in mail.walk() if part.get_content_type() == "text/html"]
    return part.get_content().replace("</p>", "\n").replace("<p>", "").strip()
