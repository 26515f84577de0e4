#!/usr/bin/env python3
"""shop-cart: what each user of the demo shop has in the cart. HTTP/1.1 with keep-alive."""

import argparse
import json
import re
import socket
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CART = re.compile(r"/cart/([a-z0-9]{1,32})")


def cart_of(user):
    """The cart depends on the name alone, so that tests know it."""
    seed = zlib.crc32(user.encode())
    lines = [
        {"item": str((seed >> shift) % 8), "quantity": 1 + (seed >> shift) % 3, "cents": 300 + (seed >> shift) % 900}
        for shift in range(1 + seed % 3)
    ]
    return {"user": user, "lines": lines}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Header and body are two writes: with Nagle's algorithm the second waits for an acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        found = CART.fullmatch(self.path)
        if found:
            self.answer(200, cart_of(found.group(1)))
        elif self.path == "/health":
            self.answer(200, "ok")
        else:
            self.answer(404, {"error": "ask for /cart/USER"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silence: the load is thousands of requests."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def address(text):
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or 65535 < int(port):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=address, default=("127.0.0.1", 8082), metavar="HOST:PORT")
    options = parser.parse_args()
    try:
        server = Server(options.listen, Handler)
    except (OSError, socket.gaierror) as error:
        raise SystemExit(f"shop-cart: cannot listen on {options.listen}: {error}")
    print("ready", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
