"""A server of one file on loopback, which may break off, lie about ranges, or refuse."""

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
def serving(**settings):
    defaults = {"content": CONTENT, "ranges": True, "drops": [], "statuses": [], "length": True, "shift": 0}
    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
        vars(server).update(defaults | {"asked": [], "served": 0} | settings)
        server.address = f"http://127.0.0.1:{server.server_port}/maps.tgz"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
