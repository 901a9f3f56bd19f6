#!/usr/bin/env node
'use strict';
// A shop that knows nothing of Paybell: tenpay places, asks about, closes and refunds orders, and express with tenpay's own
// middleware takes payment notifications. Only the base URL of tenpay's calls was changed.
//
// It prints {"ready":PORT}, then one line of JSON per command from standard input, and {"notified":…} or {"refused":…}
// per notification. It ends with its standard input.

const fs = require('fs');
const readline = require('readline');
const express = require('express');
const tenpay = require('tenpay');

const [mchid, appid, partnerKey] = process.argv.slice(2);
const WECHAT = 'https://api.mch.weixin.qq.com';
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function shop(baseUrl, pfx) {
  const papers = pfx ? {pfx: fs.readFileSync(pfx)} : {};
  const api = tenpay.init({mchid, appid, partnerKey, notify_url: 'http://127.0.0.1:9/unset', ...papers});
  for (const [name, url] of Object.entries(api.urls)) api.urls[name] = url.replace(WECHAT, baseUrl);
  return api;
}

const verbs = {
  place: (api, {order, fee, notify_url}) => api.unifiedOrder({
    out_trade_no: order, body: '茶叶 & <杯>', total_fee: fee, trade_type: 'NATIVE', product_id: '1', notify_url,
  }),
  query: (api, {order}) => api.orderQuery({out_trade_no: order}),
  close: (api, {order}) => api.closeOrder({out_trade_no: order}),
  refund: (api, {order, number, total_fee, fee}) => api.refund({
    out_trade_no: order, out_refund_no: number, total_fee, refund_fee: fee,
  }),
  refund_query: (api, {number}) => api.refundQuery({out_refund_no: number}),
};

async function obey(line) {
  const command = JSON.parse(line);
  try {
    print({answer: await verbs[command.do](shop(command.base_url, command.pfx), command)});
  } catch (error) {
    print({error: error.message});
  }
}

const app = express();
app.use(express.text({type: '*/*'}));
app.use((request, response, next) => {
  // What the middleware refuses never reaches the handler.
  response.on('finish', () => request.weixin || print({refused: response.statusCode}));
  next();
});
app.post('/notify', shop(WECHAT).middlewareForExpress('pay'), (request, response) => {
  print({notified: request.weixin});
  response.reply();
});

const server = app.listen(0, '127.0.0.1', async () => {
  print({ready: server.address().port});
  // One at a time, so that answers come in the order of the commands.
  for await (const line of readline.createInterface({input: process.stdin})) await obey(line);
  process.exit(0);
});
