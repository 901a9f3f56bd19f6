#!/usr/bin/env node
// Has Paybell send money back, and waits a moment for the end. The number of the refund is the shop's own, and the same on
// every try: WeChat refunds a number once. A token needs the scope `refunds`.
//
//     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \
//       node refund.js 1900000109 T2026112000000001 R2026112000000001 500

import { demand, explain, orderPath, sleep } from './paybell.js';

// What a refund ends as. `abnormal`: the bank would not have it, and a person sends it from the merchant platform.
const ENDS = ['succeeded', 'abnormal', 'closed', 'refused'];

// The refund as it stands, or undefined where it was refused: then nothing moved.
async function refund(mchId, outTradeNo, outRefundNo, refundFee) {
  const wish = { out_refund_no: outRefundNo, refund_fee: refundFee }; // In fen, never in yuan.
  const answer = await demand('POST', orderPath(mchId, outTradeNo, '/refunds?wait=5s'), wish);
  if ([200, 201, 202].includes(answer.status)) return answer.document;
  // 409 refund-refused has WeChat's code, its cause and its remedy; then the same number again.
  explain(answer);
  return undefined;
}

// For a terminal. A shop waits for refund.succeeded, refund.abnormal or refund.closed: it may take days.
async function waitUntilEnded(mchId, outTradeNo, outRefundNo, seconds) {
  const path = orderPath(mchId, outTradeNo, `/refunds/${encodeURIComponent(outRefundNo)}`);
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const { document } = await demand('GET', path);
    if (ENDS.includes(document.state) || Date.now() > until) return document.state;
    await sleep(500);
  }
}

const [mchId, outTradeNo, outRefundNo, fee] = process.argv.slice(2);
const refundFee = Number(fee);
if (!outRefundNo || !Number.isSafeInteger(refundFee)) {
  console.error('usage: refund.js MCH_ID OUT_TRADE_NO OUT_REFUND_NO REFUND_FEE_IN_FEN');
  process.exit(2);
}
if (!(await refund(mchId, outTradeNo, outRefundNo, refundFee))) process.exit(1);
const state = await waitUntilEnded(mchId, outTradeNo, outRefundNo, Number(process.env.WAIT_S ?? 60));
console.log(`${outRefundNo} is ${state}`);
process.exitCode = ['asked', 'processing', 'succeeded'].includes(state) ? 0 : 1;
