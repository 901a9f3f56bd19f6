#!/usr/bin/env python3
"""Receives Paybell's webhooks. In Flask, Django or FastAPI keep `verify` and the body of `do_POST`; take the body as
bytes (request.get_data(), request.body, await request.body()) before anything parses it.

    PAYBELL_WEBHOOK_SECRET=whsec_... python3 webhook.py
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from shop import Shop

TOLERANCE_SECONDS = 5 * 60
BODY_BYTES_MAX = 256 * 1024


class Refused(Exception):
    """Not from Paybell, or not from now."""


def verify(secret, headers, body, now):
    """Standard Webhooks over the bytes that came: parsing and writing JSON again would change them."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused("timestamp missing, too old or too new")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    if not key:
        raise Refused("PAYBELL_WEBHOOK_SECRET is no secret")  # With an empty key everybody could sign.
    mac = hmac.digest(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = "v1," + base64.b64encode(mac).decode()
    # During a rotation there are several signatures, with a blank between them. One that fits is enough.
    signatures = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in signatures):
        raise Refused("no signature fits")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    shop: Shop
    secret: str

    def do_POST(self):
        body = self.body()
        if body is None:
            return self.answer(413, {"error": "too large, or without Content-Length"})
        if self.path != "/webhooks/paybell":
            return self.answer(404, {"error": "not here"})
        try:
            verify(self.secret, self.headers, body, time.time())
        except Refused as refused:
            return self.answer(401, {"error": str(refused)})
        try:
            event = json.loads(body)
        except ValueError:
            return self.answer(400, {"error": "not JSON"})
        try:
            done = self.shop.take(event)
        except Exception as error:  # Paybell tries again after any answer that is not 2xx.
            print(f"{event.get('type')} {event.get('subject')}: {error!r}", file=sys.stderr, flush=True)
            return self.answer(500, {"error": "try again"})
        print(f"{event['type']} {event['subject']}: {done}", flush=True)
        return self.answer(200, {"done": done})

    def do_GET(self):
        """GET /shipped/{out_trade_no}: for `paybell rehearse`, and not for the public."""
        if not self.path.startswith("/shipped/"):
            return self.answer(404, {"error": "not here"})
        out_trade_no = unquote(self.path.removeprefix("/shipped/"))
        shipped = self.shop.shipped(out_trade_no)
        return self.answer(200, {"out_trade_no": out_trade_no, "shipped": shipped})

    def body(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            return None
        return self.rfile.read(int(length))

    def answer(self, status, document):
        body = json.dumps(document, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Events are logged with what was done; requests are not."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A caller that went away gets the event again; it was stored or it was not."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    Handler.secret = os.environ["PAYBELL_WEBHOOK_SECRET"].strip()
    Handler.shop = Shop(os.environ.get("DATABASE", "shop.db"))
    address = (os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "9000")))
    with Server(address, Handler) as server:
        print(f"listening on http://{address[0]}:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
