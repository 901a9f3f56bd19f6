#!/usr/bin/env node
// Registers an order over AMQP, as a shop would with amqplib: publishes the body of PUT /v1/orders with mch_id and
// out_trade_no to the orders exchange, persistent and mandatory, and waits for the confirm.
//
// Exit 0 once the broker holds it; 1 if it was refused or had nowhere to go; 2 for wrong arguments.
'use strict';

const { parseArgs } = require('node:util');
const amqp = require('amqplib');

function readArguments() {
  const options = {
    url: { type: 'string' },
    exchange: { type: 'string', default: 'paybell.orders' },
    'mch-id': { type: 'string' },
    'out-trade-no': { type: 'string' },
    'total-fee': { type: 'string' },
    more: { type: 'string', default: '{}' },
  };
  const { values } = parseArgs({ options });
  for (const name of ['url', 'mch-id', 'out-trade-no', 'total-fee']) {
    if (values[name] === undefined) throw new TypeError(`--${name} is missing`);
  }
  return values;
}

async function main() {
  const args = readArguments();
  const order = {
    mch_id: args['mch-id'],
    out_trade_no: args['out-trade-no'],
    total_fee: Number(args['total-fee']),
    ...JSON.parse(args.more),
  };
  const connection = await amqp.connect(args.url);
  const channel = await connection.createConfirmChannel();
  // A message that no queue takes comes back before its confirm.
  let isReturned = false;
  channel.on('return', () => { isReturned = true; });
  channel.publish(args.exchange, '', Buffer.from(JSON.stringify(order)), {
    contentType: 'application/json',
    persistent: true,
    mandatory: true,
  });
  await channel.waitForConfirms();
  await connection.close();
  if (isReturned) throw new Error('not registered: no queue takes it');
  console.log('confirmed');
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = error instanceof TypeError ? 2 : 1;
});
