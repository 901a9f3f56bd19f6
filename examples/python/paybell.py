"""Demands of Paybell's private API that are repeated until their outcome is known. Nothing here knows of a shop."""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# The answers after which nobody knows, or Paybell asks to come back: the very same request again is always right.
# 429 and 503: not done. 504: WeChat was called, and what became of it is unknown. 0: Paybell itself did not answer.
AGAIN = (0, 429, 503, 504)
GIVE_UP_AFTER_S = 60


def order_path(mch_id, out_trade_no, rest=""):
    parts = (urllib.parse.quote(part, safe="") for part in (mch_id, out_trade_no))
    return "/v1/orders/" + "/".join(parts) + rest


def demand(method, path, body=None):
    """The status and the document that came back, after as many repeats as it took. Never change anything between two
    tries, least of all the number: a new one could be paid, or paid back, beside the old one."""
    until = time.monotonic() + GIVE_UP_AFTER_S
    while True:
        status, document, wait = ask(method, path, body)
        if status not in AGAIN or time.monotonic() + wait > until:
            return status, document
        print(f"not known yet ({status}), again in {wait} s", file=sys.stderr)
        time.sleep(wait)


def ask(method, path, body=None):
    """One try: status, document, and in how many seconds to come back."""
    api = os.environ.get("PAYBELL_API", "http://127.0.0.1:8081").rstrip("/")
    headers = {"Content-Type": "application/json"}
    if os.environ.get("PAYBELL_TOKEN"):
        headers["Authorization"] = f"Bearer {os.environ['PAYBELL_TOKEN']}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api + path, data=data, headers=headers, method=method)
    try:
        # Longer than Paybell waits for WeChat.
        with urllib.request.urlopen(request, timeout=40) as response:
            return response.status, json.load(response), 2
    except urllib.error.HTTPError as refusal:
        document = json.loads(refusal.read() or b"{}")
        return refusal.code, document, int(refusal.headers.get("Retry-After") or 2)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return 0, {"detail": f"Paybell is away: {error}"}, 2


def explain(status, document):
    """What a refusal says to people. For programs there is `type`, which never changes."""
    print(f"HTTP {status} {document.get('type', '')}: {document.get('detail', '')}", file=sys.stderr)
