#!/usr/bin/env node
// The ingress's job in Node, for `paybell bench ingress --engine cluster` to compare with: read a notification, parse
// it, verify its MD5 sign, publish a check to a quorum queue, persistent and mandatory, and answer SUCCESS once it is
// confirmed. One process, one connection, one confirm channel, nothing logged.
//
//   server.js --port 0 --url amqp://… --queue NAME --key API_KEY --mch-id NUMBER      prints "ready PORT"
'use strict';

const { createHash, timingSafeEqual } = require('node:crypto');
const http = require('node:http');
const { parseArgs } = require('node:util');
const amqp = require('amqplib');
const { XMLParser } = require('fast-xml-parser');

const BODY_BYTES_MAX = 64 * 1024;
const answer = (code, message) => Buffer.from(
  `<xml><return_code><![CDATA[${code}]]></return_code><return_msg><![CDATA[${message}]]></return_msg></xml>`,
);
const SUCCESS = answer('SUCCESS', 'OK');
const FAIL = answer('FAIL', 'FAIL');

const parser = new XMLParser({ ignoreAttributes: true, parseTagValue: false, trimValues: false });

function readArguments() {
  const names = ['port', 'queue', 'key', 'mch-id'];
  const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
  for (const name of names) {
    if (values[name] === undefined) throw new TypeError(`--${name} is missing`);
  }
  // A URL may hold a password, which a command line would show to everybody on the machine.
  const { AMQP_URL: url } = process.env;
  if (!url) throw new TypeError('AMQP_URL is missing');
  return { ...values, url };
}

// The fields of a notification, or nothing if it is none: one level, no name twice.
function fieldsOf(body) {
  let document;
  try {
    document = parser.parse(body);
  } catch {
    return undefined;
  }
  const fields = document?.xml;
  if (typeof fields !== 'object' || fields === null) return undefined;
  // White space between the fields is none of them.
  delete fields['#text'];
  return Object.values(fields).every((value) => typeof value === 'string') ? fields : undefined;
}

function isAuthentic(fields, key) {
  const names = Object.keys(fields).filter((name) => name !== 'sign' && fields[name] !== '').sort();
  const signed = names.map((name) => `${name}=${fields[name]}&`).join('');
  const right = createHash('md5').update(`${signed}key=${key}`, 'utf8').digest('hex').toUpperCase();
  const sign = fields.sign ?? '';
  return sign.length === right.length && timingSafeEqual(Buffer.from(sign, 'latin1'), Buffer.from(right, 'latin1'));
}

// Publishes and waits for the confirm; a message that came back was taken by no queue.
function publisher(channel, queue) {
  const returned = new Set();
  let number = 0;
  channel.on('return', (message) => returned.add(message.properties.messageId));
  return (check) => new Promise((resolve, reject) => {
    number += 1;
    const messageId = String(number);
    const options = { persistent: true, mandatory: true, contentType: 'application/json', messageId };
    channel.publish('', queue, Buffer.from(JSON.stringify(check)), options, (error) => {
      if (error || returned.delete(messageId)) reject(error ?? new Error('returned'));
      else resolve();
    });
  });
}

function bodyOf(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let length = 0;
    request.on('data', (chunk) => {
      length += chunk.length;
      if (length > BODY_BYTES_MAX) reject(new RangeError('too long'));
      else chunks.push(chunk);
    });
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    request.on('error', reject);
  });
}

async function judge(request, merchant, publish) {
  if (request.method !== 'POST') return 405;
  let body;
  try {
    body = await bodyOf(request);
  } catch {
    return 413;
  }
  const fields = fieldsOf(body.toString('utf8'));
  if (fields === undefined) return 400;
  if (fields.mch_id !== merchant.mchId || !isAuthentic(fields, merchant.key)) return 401;
  if (!fields.out_trade_no || !fields.transaction_id) return 400;
  const { mch_id, out_trade_no, transaction_id, appid } = fields;
  try {
    await publish({ v: 1, mch_id, out_trade_no, reason: 'notified', transaction_id, appid });
  } catch {
    return 503;
  }
  return 200;
}

async function main() {
  const args = readArguments();
  const merchant = { mchId: args['mch-id'], key: args.key };
  const connection = await amqp.connect(args.url, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.checkQueue(args.queue);
  const publish = publisher(channel, args.queue);

  const server = http.createServer((request, response) => {
    judge(request, merchant, publish).then((status) => {
      const body = status === 200 ? SUCCESS : FAIL;
      response.writeHead(status, { 'Content-Type': 'text/xml; charset=utf-8', 'Content-Length': body.length });
      response.end(body);
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(Number(args.port), '127.0.0.1', () => console.log(`ready ${server.address().port}`));

  const end = (code) => {
    server.close();
    server.closeAllConnections();
    process.exitCode = code;
    connection.close().catch(() => {});
  };
  // Without its broker it can confirm nothing.
  connection.on('close', () => process.exit());
  connection.on('error', () => process.exit(1));
  process.once('SIGTERM', () => end(0));
  process.once('SIGINT', () => end(0));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(error instanceof TypeError ? 2 : 1);
});
