#!/usr/bin/env python3
"""A shop that knows nothing of Paybell: wechatpy places, asks about, closes and refunds orders, and its
parse_payment_result takes payment notifications. Only the base URL of wechatpy's calls was changed.

It prints {"ready": PORT}, then one line of JSON per command from standard input, and {"notified": …} or
{"refused": …} per notification. It ends with its standard input.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from requests import RequestException
from wechatpy.exceptions import InvalidSignatureException, WeChatPayException
from wechatpy.pay import WeChatPay
from wechatpy.pay.utils import dict_to_xml

MCH_ID, APPID, KEY = sys.argv[1:4]
LOCK = threading.Lock()


def show(line):
    with LOCK:
        print(json.dumps(line, ensure_ascii=False), flush=True)


def shop(base_url, cert=None, key=None):
    pay = WeChatPay(appid=APPID, api_key=KEY, mch_id=MCH_ID, mch_cert=cert, mch_key=key, timeout=10)
    pay.API_BASE_URL = base_url + "/"
    return pay


def obey(command):
    pay = shop(command["base_url"], command.get("cert"), command.get("key"))
    if command["do"] == "refund":
        return pay.refund.apply(
            command["total_fee"], command["fee"], command["number"], out_trade_no=command["order"]
        )
    if command["do"] == "refund_query":
        return pay.refund.query(out_refund_no=command["number"])
    orders = pay.order
    if command["do"] == "place":
        return orders.create(
            "NATIVE",
            "茶叶 & <杯>",
            command["fee"],
            command["notify_url"],
            client_ip="127.0.0.1",
            out_trade_no=command["order"],
            product_id="1",
        )
    if command["do"] == "query":
        return orders.query(out_trade_no=command["order"])
    return orders.close(command["order"])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            result = shop("unused").parse_payment_result(body)
        except InvalidSignatureException:
            show({"refused": "InvalidSignatureException"})
            return self.reply({"return_code": "FAIL"})
        show({"notified": result})
        return self.reply({"return_code": "SUCCESS", "return_msg": "OK"})

    def reply(self, fields):
        body = dict_to_xml(fields, None).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    show({"ready": server.server_address[1]})
    for line in sys.stdin:
        try:
            show({"answer": obey(json.loads(line))})
        except (WeChatPayException, RequestException) as error:
            show({"error": getattr(error, "errcode", None) or getattr(error, "errmsg", None) or str(error)})


main()
