"""An SQS server with the sample queues, in memory, at port 4566 of its container."""

import logging
import signal

from moto.server import ThreadedMotoServer

from sandbox.queues import client, make_queues

ENDINGS = {signal.SIGTERM, signal.SIGINT}

signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)  # the first process of a container gets only the signals it asks for
logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for every request

# The queues are made before anybody can ask for them: at a port of our own, of what both servers share.
preparing = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
preparing.start()
host, port = preparing.get_host_and_port()
make_queues(client(f"http://{host}:{port}"))
preparing.stop()

ThreadedMotoServer(ip_address="0.0.0.0", port=4566).start()  # noqa: S104 - the container's own network
signal.sigwait(ENDINGS)
