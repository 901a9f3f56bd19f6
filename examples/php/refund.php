<?php

/**
 * Has Paybell send money back, and waits a moment for the end. The number of the refund is the shop's own, and the same on
 * every try: WeChat refunds a number once. A token needs the scope `refunds`.
 *
 *     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \
 *       php refund.php 1900000109 T2026112000000001 R2026112000000001 500
 */

declare(strict_types=1);

require __DIR__ . '/paybell.php';

// What a refund ends as. `abnormal`: the bank would not have it, and a person sends it from the merchant platform.
const ENDS = ['succeeded', 'abnormal', 'closed', 'refused'];

/** The refund as it stands, or null where it was refused: then nothing moved. */
function refund(string $mchId, string $outTradeNo, string $outRefundNo, int $refundFee): ?array
{
    $wish = ['out_refund_no' => $outRefundNo, 'refund_fee' => $refundFee]; // In fen, never in yuan.
    [$status, $answer] = demand('POST', orderPath($mchId, $outTradeNo, '/refunds?wait=5s'), $wish);
    if (in_array($status, [200, 201, 202], true)) {
        return $answer;
    }
    // 409 refund-refused has WeChat's code, its cause and its remedy; then the same number again.
    explain($status, $answer);
    return null;
}

/** For a terminal. A shop waits for refund.succeeded, refund.abnormal or refund.closed: it may take days. */
function waitUntilEnded(string $mchId, string $outTradeNo, string $outRefundNo, int $seconds): string
{
    $path = orderPath($mchId, $outTradeNo, '/refunds/' . rawurlencode($outRefundNo));
    $until = time() + $seconds;
    while (true) {
        [, $answer] = demand('GET', $path);
        $state = $answer['state'] ?? 'unknown';
        if (in_array($state, ENDS, true) || time() >= $until) {
            return $state;
        }
        usleep(500_000);
    }
}

if ($argc !== 5 || !ctype_digit($argv[4])) {
    fwrite(STDERR, "usage: refund.php MCH_ID OUT_TRADE_NO OUT_REFUND_NO REFUND_FEE_IN_FEN\n");
    exit(2);
}
[, $mchId, $outTradeNo, $outRefundNo, $refundFee] = $argv;
if (refund($mchId, $outTradeNo, $outRefundNo, (int) $refundFee) === null) {
    exit(1);
}
$state = waitUntilEnded($mchId, $outTradeNo, $outRefundNo, (int) (getenv('WAIT_S') ?: 60));
echo "$outRefundNo is $state\n";
exit(in_array($state, ['asked', 'processing', 'succeeded'], true) ? 0 : 1);
