#!/usr/bin/env node
// A subscriber as a business service would write it, with amqplib: binds a queue of its own to the events exchange,
// checks every event against what docs/events.md promises, and prints its findings as one line of JSON.
//
// It prints "ready" once its queue is bound. It ends after --count different events (repeats of an id do not count),
// or after --seconds: exit 0 if nothing differs, 1 otherwise, 2 for wrong arguments.
'use strict';

const fs = require('node:fs');
const { isDeepStrictEqual, parseArgs } = require('node:util');
const Ajv = require('ajv/dist/2020');
const addFormats = require('ajv-formats');
const amqp = require('amqplib');

const CONTENT_TYPE = 'application/cloudevents+json';
const PERSISTENT = 2;

function readArguments() {
  const options = {
    url: { type: 'string' },
    exchange: { type: 'string', default: 'paybell.events' },
    binding: { type: 'string', default: 'order.paid.#' },
    count: { type: 'string' },
    schema: { type: 'string' },
    seconds: { type: 'string', default: '60' },
  };
  const { values } = parseArgs({ options });
  for (const name of ['url', 'count', 'schema']) {
    if (values[name] === undefined) throw new TypeError(`--${name} is missing`);
  }
  return { ...values, count: Number(values.count), seconds: Number(values.seconds) };
}

function validatorOf(path) {
  const ajv = new Ajv({ allErrors: true, strictTypes: false });
  addFormats(ajv, ['uuid', 'date', 'date-time']);
  return ajv.compile(JSON.parse(fs.readFileSync(path, 'utf8')));
}

// What is not as promised, in words; and the event if it can be read.
function differences(validate, message) {
  let event;
  try {
    event = JSON.parse(message.content.toString('utf8'));
  } catch (error) {
    return { event: null, found: [`body: not JSON: ${error.message}`] };
  }
  if (!validate(event)) {
    return { event, found: validate.errors.map((error) => `body${error.instancePath}: ${error.message}`) };
  }
  const { fields, properties } = message;
  const places = [
    ['message_id', properties.messageId, event.id],
    ['type', properties.type, event.type],
    ['content_type', properties.contentType, CONTENT_TYPE],
    ['delivery_mode', properties.deliveryMode, PERSISTENT],
    ['routing key', fields.routingKey, `${event.type}.${event.data.mch_id}`],
    ['source', event.source, `/paybell/${event.data.mch_id}`],
    ['subject', event.subject, event.data.out_trade_no],
  ];
  const wrong = places.filter(([, value, right]) => value !== right);
  const words = ([name, value, right]) => `${name}: ${JSON.stringify(value)} instead of ${JSON.stringify(right)}`;
  return { event, found: wrong.map(words) };
}

async function main() {
  const args = readArguments();
  const validate = validatorOf(args.schema);
  const connection = await amqp.connect(args.url);
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, args.exchange, args.binding);
  await channel.prefetch(100);

  const seen = new Map();
  const wrong = [];
  let [received, repeats] = [0, 0];
  let end;
  const ended = new Promise((resolve) => { end = resolve; });
  const timer = setTimeout(end, args.seconds * 1000);

  const take = (message) => {
    if (message === null) {
      wrong.push({ id: null, difference: 'the broker cancelled the consumer' });
      return end();
    }
    // What arrives after the last one that was asked for is the queue's, which goes with us.
    if (seen.size >= args.count || wrong.length > 0) return undefined;
    received += 1;
    const { event, found } = differences(validate, message);
    const id = typeof event?.id === 'string' ? event.id : null;
    if (seen.has(id)) {
      repeats += 1;
      if (!isDeepStrictEqual(seen.get(id), event)) found.push('body: another event under the same id');
    } else if (id !== null) {
      seen.set(id, event);
    }
    for (const difference of found) wrong.push({ id, difference });
    channel.ack(message);
    return seen.size >= args.count || wrong.length > 0 ? end() : undefined;
  };
  await channel.consume(queue, take);
  console.log('ready');
  await ended;
  clearTimeout(timer);
  await channel.close();
  await connection.close();

  const complete = seen.size >= args.count;
  const client = 'amqplib';
  const ids = [...seen.keys()].sort();
  console.log(JSON.stringify({ client, events: seen.size, repeats, received, complete, differences: wrong, ids }));
  return complete && wrong.length === 0 ? 0 : 1;
}

main().then(
  (code) => { process.exitCode = code; },
  (error) => {
    console.error(error.message);
    process.exitCode = error instanceof TypeError ? 2 : 1;
  },
);
