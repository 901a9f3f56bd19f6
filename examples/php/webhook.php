<?php

/**
 * Receives Paybell's webhooks, under php-fpm or for a trial under PHP's own server:
 *
 *     PAYBELL_WEBHOOK_SECRET=whsec_... PHP_CLI_SERVER_WORKERS=8 php -S 127.0.0.1:9000 webhook.php
 *
 * In Laravel keep verify() and give it $request->getContent(); exempt the route from CSRF checks.
 */

declare(strict_types=1);

require __DIR__ . '/shop.php';

const TOLERANCE_SECONDS = 5 * 60;

/**
 * Standard Webhooks over the bytes that came: parsing and writing JSON again would change them. Returns what is wrong,
 * or null.
 */
function verify(string $secret, string $id, string $timestamp, string $signatures, string $body, int $now): ?string
{
    if (!ctype_digit($timestamp) || abs($now - (int) $timestamp) > TOLERANCE_SECONDS) {
        return 'timestamp missing, too old or too new';
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    if ($key === false || $key === '') {
        throw new RuntimeException('PAYBELL_WEBHOOK_SECRET is no webhook secret');
    }
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // During a rotation there are several signatures, with a blank between them. One that fits is enough.
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return null;
        }
    }
    return 'no signature fits';
}

function receive(Shop $shop, string $secret): array
{
    $body = file_get_contents('php://input');
    $header = fn (string $name): string => $_SERVER["HTTP_WEBHOOK_$name"] ?? '';
    $wrong = verify($secret, $header('ID'), $header('TIMESTAMP'), $header('SIGNATURE'), $body, time());
    if ($wrong !== null) {
        return [401, ['error' => $wrong]];
    }
    $event = json_decode($body, true);
    if (!is_array($event)) {
        return [400, ['error' => 'not JSON']];
    }
    $done = $shop->take($event);
    error_log("{$event['type']} {$event['subject']}: $done");
    return [200, ['done' => $done]];
}

function answer(): array
{
    $path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '/';
    $shop = fn (): Shop => new Shop(getenv('DATABASE') ?: __DIR__ . '/shop.db');
    if ($_SERVER['REQUEST_METHOD'] === 'POST' && $path === '/webhooks/paybell') {
        return receive($shop(), trim((string) getenv('PAYBELL_WEBHOOK_SECRET')));
    }
    // GET /shipped/{out_trade_no}: for `paybell rehearse`, and not for the public.
    if ($_SERVER['REQUEST_METHOD'] === 'GET' && str_starts_with($path, '/shipped/')) {
        $outTradeNo = rawurldecode(substr($path, strlen('/shipped/')));
        return [200, ['out_trade_no' => $outTradeNo, 'shipped' => $shop()->shipped($outTradeNo)]];
    }
    return [404, ['error' => 'not here']];
}

try {
    [$status, $document] = answer();
} catch (Throwable $error) {
    // Paybell tries again after any answer that is not 2xx.
    error_log((string) $error);
    [$status, $document] = [500, ['error' => 'try again']];
}
http_response_code($status);
header('Content-Type: application/json');
echo json_encode($document);
