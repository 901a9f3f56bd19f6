#!/usr/bin/env python3
"""A subscriber as a business service would write it, with pika: binds a queue of its own to the events exchange,
checks every event against what docs/events.md promises, and prints its findings as one line of JSON.

It prints "ready" once its queue is bound. It ends after --count different events (repeats of an id do not count), or
after --seconds: exit 0 if nothing differs, 1 otherwise, 2 for wrong arguments.
"""

import argparse
import json
import sys
import time

import jsonschema
import pika

CONTENT_TYPE = "application/cloudevents+json"
PERSISTENT = 2


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="amqp://USER:PASSWORD@HOST:PORT/VHOST")
    parser.add_argument("--exchange", default="paybell.events")
    parser.add_argument("--binding", default="order.paid.#")
    parser.add_argument("--count", type=int, required=True, help="so many different events")
    parser.add_argument("--schema", required=True, help="docs/event.schema.json")
    parser.add_argument("--seconds", type=float, default=60, help="the longest wait")
    return parser.parse_args()


def validator_of(path):
    with open(path, encoding="utf-8") as file:
        schema = json.load(file)
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    for name in ("uuid", "date", "date-time"):
        if name not in kind.FORMAT_CHECKER.checkers:
            sys.exit(f"no check for the format {name}: install requirements.txt")
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


def differences(validator, method, properties, body):
    """What is not as promised, in words; and the event if it can be read."""
    try:
        event = json.loads(body)
    except ValueError as error:
        return None, [f"body: not JSON: {error}"]
    found = [f"body{error.json_path[1:]}: {error.message}" for error in validator.iter_errors(event)]
    if found:
        return event, found
    expected = {
        "message_id": event["id"],
        "type": event["type"],
        "content_type": CONTENT_TYPE,
        "delivery_mode": PERSISTENT,
    }
    for name, value in expected.items():
        if getattr(properties, name) != value:
            found.append(f"{name}: {getattr(properties, name)!r} instead of {value!r}")
    data = event["data"]
    places = [
        ("routing key", method.routing_key, f"{event['type']}.{data['mch_id']}"),
        ("source", event["source"], f"/paybell/{data['mch_id']}"),
        ("subject", event["subject"], data["out_trade_no"]),
    ]
    found += [f"{name}: {value!r} instead of {right!r}" for name, value, right in places if value != right]
    return event, found


def main():
    args = arguments()
    validator = validator_of(args.schema)
    connection = pika.BlockingConnection(pika.URLParameters(args.url))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, args.exchange, args.binding)
    channel.basic_qos(prefetch_count=100)
    seen, repeats, received, wrong = {}, 0, 0, []
    deadline = time.monotonic() + args.seconds
    print("ready", flush=True)
    for method, properties, body in channel.consume(queue, inactivity_timeout=0.2):
        if method is not None:
            received += 1
            event, found = differences(validator, method, properties, body)
            identity = event.get("id") if isinstance(event, dict) else None
            if identity in seen:
                repeats += 1
                if seen[identity] != event:
                    found.append("body: another event under the same id")
            elif isinstance(identity, str):
                seen[identity] = event
            wrong += [{"id": identity, "difference": difference} for difference in found]
            channel.basic_ack(method.delivery_tag)
        if len(seen) >= args.count or wrong or time.monotonic() > deadline:
            break
    channel.cancel()
    connection.close()
    is_complete = len(seen) >= args.count
    findings = {
        "client": "pika",
        "events": len(seen),
        "repeats": repeats,
        "received": received,
        "complete": is_complete,
        "differences": wrong,
        "ids": sorted(seen),
    }
    print(json.dumps(findings), flush=True)
    return 0 if is_complete and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
