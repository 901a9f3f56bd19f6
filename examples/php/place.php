<?php

/**
 * Has Paybell place an order at WeChat, hands the payer what pays it, and waits until the shop knows it as paid. Without an
 * openid it is a QR code (NATIVE), with one the parameters of a page in WeChat (JSAPI).
 *
 * The order becomes paid by order.paid and by nothing else: webhook.php takes it into the same DATABASE. What the payer's
 * device says proves nothing.
 *
 *     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \
 *       php place.php 1900000109 T2026112000000001 1999 'Tea shop - green tea' [OPENID]
 */

declare(strict_types=1);

require __DIR__ . '/paybell.php';
require __DIR__ . '/shop.php';

/**
 * What the payer's device needs; nothing where the order is paid already; null where WeChat or Paybell refused. The same
 * call may be repeated at any time: it is the same order, and gives the same while that is good.
 */
function place(string $mchId, string $outTradeNo, int $totalFee, string $body, ?string $openid): ?array
{
    $way = $openid === null ? ['trade_type' => 'NATIVE'] : ['trade_type' => 'JSAPI', 'openid' => $openid];
    $wish = $way + ['total_fee' => $totalFee, 'body' => $body]; // In fen, never in yuan.
    [$status, $answer] = demand('POST', orderPath($mchId, $outTradeNo, '/place'), $wish);
    if ($status === 200 || $status === 201) {
        return $answer['pay'];
    }
    if (str_ends_with($answer['type'] ?? '', ':order-paid')) {
        return []; // The payer was faster. order.paid comes, or came.
    }
    // 409 different-order: the price or the text changed, so take a new number and name your own order in business_no,
    // which closes the old one. 504: still unknown; place it again, do not replace it.
    explain($status, $answer);
    return null;
}

/**
 * Looks where order.paid is stored. A page that the payer comes back to does the same, after one
 * POST .../check?wait=5s, which has Paybell ask WeChat at once.
 */
function waitUntilPaid(Shop $shop, string $mchId, string $outTradeNo, int $seconds): string
{
    $until = time() + $seconds;
    while (($state = $shop->state($mchId, $outTradeNo)) === 'new' && time() < $until) {
        usleep(500_000);
    }
    return $state;
}

if ($argc < 5 || $argc > 6 || !ctype_digit($argv[3])) {
    fwrite(STDERR, "usage: place.php MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN BODY [OPENID]\n");
    exit(2);
}
[, $mchId, $outTradeNo, $totalFee, $body] = $argv;
$openid = $argv[5] ?? null;
$shop = new Shop(getenv('DATABASE') ?: __DIR__ . '/shop.db');
$shop->addOrder($mchId, $outTradeNo, (int) $totalFee);
$pay = place($mchId, $outTradeNo, (int) $totalFee, $body, $openid);
if ($pay === null) {
    exit(1);
}
if ($pay !== []) {
    // A QR code is made of code_url as it is. A page gives `bridge` to WeixinJSBridge, as it is.
    echo $openid === null ? $pay['code_url'] : json_encode($pay['bridge']), "\n";
}
$state = waitUntilPaid($shop, $mchId, $outTradeNo, (int) (getenv('WAIT_S') ?: 900));
echo "$outTradeNo is $state\n";
exit($state === 'paid' ? 0 : 1);
