#!/usr/bin/env node
// Receives Paybell's events over RabbitMQ. Needs amqplib (npm install).
//
//     AMQP_URL=amqp://shop:...@127.0.0.1:5672/%2f node consumer.js
//
// The queue is the shop's own and durable: what comes while the shop is down waits in it. A message is acknowledged
// only after the transaction, so whatever is interrupted comes again.

import { setTimeout as sleep } from 'node:timers/promises';

import amqp from 'amqplib';

import { Shop } from './shop.js';

const PAUSE_MS = 2000;

// Consumes until the connection is gone, or an event could not be handled.
async function consume(url, exchange, queue, shop) {
  const connection = await amqp.connect(url);
  let trouble = null;
  // A lost connection says "error" and then "close"; the second is what we wait for.
  connection.on('error', (error) => { trouble ??= error; });
  const closed = new Promise((resolve) => { connection.once('close', resolve); });
  try {
    const channel = await connection.createChannel();
    channel.on('error', (error) => { trouble ??= error; });
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    await channel.bindQueue(queue, exchange, 'order.#');
    await channel.prefetch(20);
    await channel.consume(queue, (message) => {
      try {
        handle(channel, message, shop);
      } catch (error) {
        // The database is away. What is not acknowledged goes back into the queue when the connection closes.
        trouble ??= error;
        connection.close().catch(() => {});
      }
    });
    console.log(`listening on ${queue}`);
    await closed;
  } finally {
    await connection.close().catch(() => {}); // It may be closed already.
  }
  throw trouble ?? new Error('connection lost');
}

function handle(channel, message, shop) {
  if (message === null) throw new Error('the queue was deleted');
  let event;
  try {
    event = JSON.parse(message.content.toString('utf8'));
  } catch {
    // It will never be readable. It goes where the queue's policy sends what is rejected.
    console.error('not JSON, rejected');
    channel.reject(message, false);
    return;
  }
  const done = shop.take(event);
  channel.ack(message);
  console.log(`${event.type} ${event.subject}: ${done}`);
}

const { AMQP_URL, AMQP_EXCHANGE = 'paybell.events', AMQP_QUEUE = 'shop.payments', DATABASE = 'shop.db' } = process.env;
if (!AMQP_URL) {
  console.error('set AMQP_URL');
  process.exit(2);
}
const shop = new Shop(DATABASE);
for (;;) {
  try {
    await consume(AMQP_URL, AMQP_EXCHANGE, AMQP_QUEUE, shop);
  } catch (error) {
    console.error(`${error.message}; again in ${PAUSE_MS / 1000} s`);
  }
  await sleep(PAUSE_MS);
}
