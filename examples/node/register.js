#!/usr/bin/env node
// Stores an order and registers it with Paybell, before the payer is asked to pay. From then on Paybell compares every
// payment with this amount, and asks WeChat even if no notification ever comes.
//
//     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... node register.js 1900000109 T2026112000000001 1999

import { Shop } from './shop.js';

// True if Paybell knows the order with this amount now. The same call may be repeated at any time.
async function register(api, token, mchId, outTradeNo, totalFee) {
  const path = [mchId, outTradeNo].map(encodeURIComponent).join('/');
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(`${api}/v1/orders/${path}`, {
      method: 'PUT',
      headers,
      body: JSON.stringify({ total_fee: totalFee }), // In fen, never in yuan.
      signal: AbortSignal.timeout(10_000),
    });
  } catch (error) {
    // The order can still be sold: its payment is found by the notification, with registered: false.
    console.error(`Paybell is away: ${error.cause?.message ?? error.message}`);
    return false;
  }
  if (response.ok) {
    console.log(response.status === 201 ? 'registered' : 'was registered already');
    return true;
  }
  // 409: registered with another amount. Repeating does not help: use a new out_trade_no for a new price.
  console.error(`HTTP ${response.status}: ${await response.text()}`);
  return false;
}

const [mchId, outTradeNo, fee] = process.argv.slice(2);
const totalFee = Number(fee);
if (!outTradeNo || !Number.isSafeInteger(totalFee)) {
  console.error('usage: register.js MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN');
  process.exit(2);
}
const { PAYBELL_API = 'http://127.0.0.1:8081', PAYBELL_TOKEN, DATABASE = 'shop.db' } = process.env;
new Shop(DATABASE).addOrder(mchId, outTradeNo, totalFee);
const isRegistered = await register(PAYBELL_API.replace(/\/$/, ''), PAYBELL_TOKEN, mchId, outTradeNo, totalFee);
process.exitCode = isRegistered ? 0 : 1;
