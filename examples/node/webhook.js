#!/usr/bin/env node
// Receives Paybell's webhooks. In Express use express.raw({ type: () => true }) on this route and give `verify` the
// Buffer, not the parsed body.
//
//     PAYBELL_WEBHOOK_SECRET=whsec_... node webhook.js

import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

import { Shop } from './shop.js';

const TOLERANCE_SECONDS = 5 * 60;
const BODY_BYTES_MAX = 256 * 1024;

// Standard Webhooks over the bytes that came: parsing and writing JSON again would change them. Returns what is wrong,
// or null.
export function verify(secret, headers, body, nowSeconds) {
  const { 'webhook-id': id = '', 'webhook-timestamp': timestamp = '', 'webhook-signature': signatures = '' } = headers;
  if (!/^\d+$/.test(timestamp) || Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) {
    return 'timestamp missing, too old or too new';
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  if (key.length === 0) return 'PAYBELL_WEBHOOK_SECRET is no secret'; // With an empty key everybody could sign.
  const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
  const expected = Buffer.from(`v1,${mac}`);
  // During a rotation there are several signatures, with a blank between them. One that fits is enough.
  const fits = signatures.split(' ').some((signature) => {
    const given = Buffer.from(signature);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  return fits ? null : 'no signature fits';
}

// The body as bytes, or null if it is too large.
async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function receive(request, { shop, secret }) {
  const body = await read(request);
  if (body === null) return [413, { error: 'too large' }];
  const wrong = verify(secret, request.headers, body, Date.now() / 1000);
  if (wrong !== null) return [401, { error: wrong }];
  let event;
  try {
    event = JSON.parse(body.toString('utf8'));
  } catch {
    return [400, { error: 'not JSON' }];
  }
  const done = shop.take(event);
  console.log(`${event.type} ${event.subject}: ${done}`);
  return [200, { done }];
}

// GET /shipped/{out_trade_no}: for `paybell rehearse`, and not for the public.
function shipped(path, { shop }) {
  const outTradeNo = decodeURIComponent(path.slice('/shipped/'.length));
  return [200, { out_trade_no: outTradeNo, shipped: shop.shipped(outTradeNo) }];
}

async function answer(request, context) {
  if (request.method === 'POST' && request.url === '/webhooks/paybell') return receive(request, context);
  if (request.method === 'GET' && request.url.startsWith('/shipped/')) return shipped(request.url, context);
  return [404, { error: 'not here' }];
}

const { PAYBELL_WEBHOOK_SECRET, DATABASE = 'shop.db', HOST = '127.0.0.1', PORT = '9000' } = process.env;
if (!PAYBELL_WEBHOOK_SECRET) {
  console.error('set PAYBELL_WEBHOOK_SECRET');
  process.exit(2);
}
const context = { shop: new Shop(DATABASE), secret: PAYBELL_WEBHOOK_SECRET.trim() };
const server = createServer(async (request, response) => {
  let [status, document] = [500, { error: 'try again' }];
  try {
    [status, document] = await answer(request, context);
  } catch (error) {
    // Paybell tries again after any answer that is not 2xx.
    console.error(error);
  }
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
});
server.listen(Number(PORT), HOST, () => console.log(`listening on http://${HOST}:${server.address().port}`));
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close(() => context.shop.close());
    server.closeIdleConnections();
  });
}
