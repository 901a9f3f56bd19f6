<?php

/**
 * Stores an order and registers it with Paybell, before the payer is asked to pay. From then on Paybell compares every
 * payment with this amount, and asks WeChat even if no notification ever comes.
 *
 *     PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... php register.php 1900000109 T2026112000000001 1999
 */

declare(strict_types=1);

require __DIR__ . '/shop.php';

/** True if Paybell knows the order with this amount now. The same call may be repeated at any time. */
function register(string $api, string $token, string $mchId, string $outTradeNo, int $totalFee): bool
{
    $headers = ['Content-Type: application/json'];
    if ($token !== '') {
        $headers[] = "Authorization: Bearer $token";
    }
    $context = stream_context_create(['http' => [
        'method' => 'PUT',
        'header' => $headers,
        'content' => json_encode(['total_fee' => $totalFee]), // In fen, never in yuan.
        'timeout' => 10,
        'ignore_errors' => true, // A refusal has a body that says why.
    ]]);
    $path = rawurlencode($mchId) . '/' . rawurlencode($outTradeNo);
    $body = @file_get_contents("$api/v1/orders/$path", false, $context);
    if ($body === false) {
        // The order can still be sold: its payment is found by the notification, with registered: false.
        fwrite(STDERR, 'Paybell is away: ' . (error_get_last()['message'] ?? 'no answer') . "\n");
        return false;
    }
    preg_match('/^HTTP\/\S+ (\d+)/', $http_response_header[0] ?? '', $found);
    $status = (int) ($found[1] ?? 0);
    if ($status === 200 || $status === 201) {
        echo $status === 201 ? "registered\n" : "was registered already\n";
        return true;
    }
    // 409: registered with another amount. Repeating does not help: use a new out_trade_no for a new price.
    fwrite(STDERR, "HTTP $status: $body\n");
    return false;
}

if ($argc !== 4 || !ctype_digit($argv[3])) {
    fwrite(STDERR, "usage: register.php MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN\n");
    exit(2);
}
[, $mchId, $outTradeNo, $totalFee] = $argv;
(new Shop(getenv('DATABASE') ?: __DIR__ . '/shop.db'))->addOrder($mchId, $outTradeNo, (int) $totalFee);
$api = rtrim(getenv('PAYBELL_API') ?: 'http://127.0.0.1:8081', '/');
exit(register($api, (string) getenv('PAYBELL_TOKEN'), $mchId, $outTradeNo, (int) $totalFee) ? 0 : 1);
