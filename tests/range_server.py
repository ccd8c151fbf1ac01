"""HTTP servers on loopback; one of them serves a file and may break off, lie about ranges, or refuse."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CONTENT = np.random.default_rng(1).bytes(3_000_000)


class Ranges(BaseHTTPRequestHandler):
    """Serves `server.content`, from the byte asked for; the server's settings make it misbehave."""

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        status = server.statuses.pop(0) if server.statuses else None
        if status or (start and start >= len(server.content)):
            return self.send_error(status or 416)
        self.send_response(206 if asked and server.ranges else 200)
        if asked and server.ranges:
            start += server.shift
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.length:
            self.send_header("Content-Length", str(len(server.content) - start))
        self.send_header("Content-Encoding", "x-gzip")  # as some servers say of every .tgz
        self.end_headers()
        body = server.content[start:]
        if server.drops:
            body = body[: server.drops.pop(0)]
        server.served += len(body)
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def listening(handler, **state):
    """A server with a handler, its `address`, and `state` as attributes that the handler uses."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        vars(server).update(state)
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving(**settings):
    """A server of `content`; its settings make it misbehave."""
    defaults = {"content": CONTENT, "ranges": True, "drops": [], "statuses": [], "length": True, "shift": 0}
    with listening(Ranges, **defaults | {"asked": [], "served": 0} | settings) as server:
        server.address += "/maps.tgz"
        yield server
