#!/usr/bin/env node
// Has Paybell place an order at WeChat, hands the payer what pays it, and waits until the shop knows it as paid. Without
// an openid it is a QR code (NATIVE), with one the parameters of a page in WeChat (JSAPI).
//
// The order becomes paid by order.paid and by nothing else: webhook.js or consumer.js takes it into the same DATABASE.
// What the payer's device says proves nothing.
//
//     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \
//       node place.js 1900000109 T2026112000000001 1999 'Tea shop - green tea' [OPENID]

import { demand, explain, orderPath, sleep } from './paybell.js';
import { Shop } from './shop.js';

// What the payer's device needs; null where the order is paid already; undefined where WeChat or Paybell refused. The
// same call may be repeated at any time: it is the same order, and gives the same while that is good.
async function place(mchId, outTradeNo, totalFee, body, openid) {
  const way = openid ? { trade_type: 'JSAPI', openid } : { trade_type: 'NATIVE' };
  const wish = { ...way, total_fee: totalFee, body }; // In fen, never in yuan.
  const answer = await demand('POST', orderPath(mchId, outTradeNo, '/place'), wish);
  if (answer.status === 200 || answer.status === 201) return answer.document.pay;
  if (answer.document.type?.endsWith(':order-paid')) return null; // The payer was faster. order.paid comes, or came.
  // 409 different-order: the price or the text changed, so take a new number and name your own order in business_no,
  // which closes the old one. 504: still unknown; place it again, do not replace it.
  explain(answer);
  return undefined;
}

// Looks where order.paid is stored. A page that the payer comes back to does the same, after one
// POST .../check?wait=5s, which has Paybell ask WeChat at once.
async function waitUntilPaid(shop, mchId, outTradeNo, seconds) {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const state = shop.state(mchId, outTradeNo);
    if (state !== 'new' || Date.now() > until) return state;
    await sleep(500);
  }
}

const [mchId, outTradeNo, fee, body, openid] = process.argv.slice(2);
const totalFee = Number(fee);
if (!body || !Number.isSafeInteger(totalFee)) {
  console.error('usage: place.js MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN BODY [OPENID]');
  process.exit(2);
}
const { DATABASE = 'shop.db', WAIT_S = '900' } = process.env;
const shop = new Shop(DATABASE);
shop.addOrder(mchId, outTradeNo, totalFee);
const pay = await place(mchId, outTradeNo, totalFee, body, openid);
if (pay === undefined) process.exit(1);
// A QR code is made of code_url as it is. A page gives `bridge` to WeixinJSBridge, as it is.
if (pay) console.log(openid ? JSON.stringify(pay.bridge) : pay.code_url);
const state = await waitUntilPaid(shop, mchId, outTradeNo, Number(WAIT_S));
console.log(`${outTradeNo} is ${state}`);
process.exitCode = state === 'paid' ? 0 : 1;
