#!/usr/bin/env python3
"""Receives Paybell's events over RabbitMQ. Needs pika (requirements.txt).

    AMQP_URL=amqp://shop:...@127.0.0.1:5672/%2f python3 consumer.py

The queue is the shop's own and durable: what comes while the shop is down waits in it. A message is acknowledged only
after the transaction, so whatever is interrupted comes again.
"""

import json
import os
import sys
import time

import pika
from pika.exceptions import AMQPError

from shop import Shop

PAUSE_SECONDS = 2


def consume(url, exchange, queue, shop):
    # However this ends, the connection is closed, and what was not acknowledged goes back into the queue.
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        consume_on(connection.channel(), exchange, queue, shop)


def consume_on(channel, exchange, queue, shop):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, "order.#")
    channel.basic_qos(prefetch_count=20)
    print(f"listening on {queue}", flush=True)
    for method, _, body in channel.consume(queue):
        try:
            event = json.loads(body)
        except ValueError:
            # It will never be readable. It goes where the queue's policy sends what is rejected.
            print("not JSON, rejected", file=sys.stderr, flush=True)
            channel.basic_reject(method.delivery_tag, requeue=False)
            continue
        done = shop.take(event)
        channel.basic_ack(method.delivery_tag)
        print(f"{event['type']} {event['subject']}: {done}", flush=True)


def main():
    url = os.environ["AMQP_URL"]
    exchange = os.environ.get("AMQP_EXCHANGE", "paybell.events")
    queue = os.environ.get("AMQP_QUEUE", "shop.payments")
    shop = Shop(os.environ.get("DATABASE", "shop.db"))
    while True:
        try:
            consume(url, exchange, queue, shop)
        except KeyboardInterrupt:
            return
        except Exception as error:  # Broker or database away: what was not acknowledged comes again.
            words = "connection lost" if isinstance(error, AMQPError) else repr(error)
            print(f"{words}; again in {PAUSE_SECONDS} s", file=sys.stderr, flush=True)
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
