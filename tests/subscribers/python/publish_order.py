#!/usr/bin/env python3
"""Registers an order over AMQP, as a shop would with pika: publishes the body of PUT /v1/orders with mch_id and
out_trade_no to the orders exchange, persistent and mandatory, and waits for the confirm.

Exit 0 once the broker holds it; 1 if it was refused or had nowhere to go.
"""

import argparse
import json
import sys

import pika


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="amqp://USER:PASSWORD@HOST:PORT/VHOST")
    parser.add_argument("--exchange", default="paybell.orders")
    parser.add_argument("--mch-id", required=True)
    parser.add_argument("--out-trade-no", required=True)
    parser.add_argument("--total-fee", type=int, required=True, help="in fen")
    parser.add_argument("--more", type=json.loads, default={}, help="more fields, as a JSON object")
    return parser.parse_args()


def main():
    args = arguments()
    order = {
        "mch_id": args.mch_id,
        "out_trade_no": args.out_trade_no,
        "total_fee": args.total_fee,
        **args.more,
    }
    properties = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=pika.DeliveryMode.Persistent.value,
    )
    connection = pika.BlockingConnection(pika.URLParameters(args.url))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish(args.exchange, "", json.dumps(order).encode(), properties, mandatory=True)
    except (pika.exceptions.NackError, pika.exceptions.UnroutableError) as error:
        print(f"not registered: {error}", file=sys.stderr)
        return 1
    connection.close()
    print("confirmed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
