"""A plain HTTP/1.1 server whose routes show what a proxy must get right. Usage: web.py PORT"""

import http.server
import socket
import sys
import threading
import time
import urllib.parse


# What was posted, counted by path.
APPENDED = {}
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one write a reply, as far as it fits

    def do_GET(self):
        path, _, query = self.path.partition("?")
        route, _, argument = path.strip("/").partition("/")
        parameters = dict(urllib.parse.parse_qsl(query))
        handler = getattr(self, f"get_{route}", None)
        if handler is None:
            self.reply(404, b"no such route\n")
        else:
            handler(argument, parameters)

    do_HEAD = do_GET
    do_DELETE = do_GET

    def do_POST(self):
        if self.path == "/early":
            # Answers before the body is read, as a server does that refuses it by its size.
            self.close_connection = True
            self.reply(413, b"too large\n", {"Connection": "close"})
            return
        body = self.body()
        if self.path.startswith("/append/"):
            with LOCK:
                APPENDED[self.path] = APPENDED.get(self.path, 0) + 1
            self.reply(201, b"appended\n")
            return
        if self.path == "/echo":
            self.reply(200, body, {"X-Length": str(len(body))})
        elif self.path == "/echo-chunked":
            self.chunks([body[at : at + 8192] for at in range(0, len(body), 8192)])
        else:
            self.reply(404, b"no such route\n")

    do_PUT = do_POST

    def get_hello(self, _argument, _parameters):
        self.reply(200, b"hello\n")

    def get_items(self, argument, _parameters):
        self.reply(200, f"item {argument}\n".encode())

    def get_appended(self, argument, _parameters):
        """How often something was posted to /append/NAME."""
        self.reply(200, str(APPENDED.get(f"/append/{argument}", 0)).encode())

    def get_bytes(self, argument, _parameters):
        self.reply(200, pattern(int(argument)))

    def get_chunked(self, argument, _parameters):
        self.chunks([pattern(1 + 97 * n) for n in range(int(argument))])

    def get_slow(self, _argument, parameters):
        time.sleep(int(parameters.get("ms", 100)) / 1000)
        self.reply(200, b"at last\n")

    def get_status(self, argument, _parameters):
        self.reply(int(argument), b"" if argument in ("204", "304") else f"status {argument}\n".encode())

    def get_until_close(self, argument, _parameters):
        """A reply without a length: it ends with the connection."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(pattern(int(argument)))

    def get_tunnel(self, _argument, _parameters):
        """Says everything back from here on, as a server of websockets speaks something else."""
        self.close_connection = True
        self.send_response_only(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        self.wfile.flush()
        while piece := self.rfile.read1(65536):
            self.wfile.write(piece)
            self.wfile.flush()

    def get_hints(self, _argument, _parameters):
        """An interim reply before the final one."""
        self.send_response_only(103)
        self.send_header("Link", "</style.css>; rel=preload")
        self.end_headers()
        self.reply(200, b"with hints\n")

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunks(self, pieces):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Pieces")
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in pieces:
            if piece:
                self.wfile.write(b"%x;note=kept\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\nX-Pieces: %d\r\n\r\n" % len(pieces))

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def date_time_string(self, timestamp=None):
        return "Thu, 01 Jan 1970 00:00:00 GMT"  # so that replies can be compared byte by byte

    def log_message(self, *_):
        pass


def pattern(length):
    """Bytes that show where a piece is missing or out of place."""
    block = b"".join(n.to_bytes(4, "big") for n in range(min(length // 4 + 1, 1 << 16)))
    return (block * (length // len(block) + 1))[:length]


class WebServer(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    address_family = socket.AF_INET


if __name__ == "__main__":
    WebServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
