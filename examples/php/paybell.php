<?php

/** Demands of Paybell's private API that are repeated until their outcome is known. Nothing here knows of a shop. */

declare(strict_types=1);

// The answers after which nobody knows, or Paybell asks to come back: the very same request again is always right.
// 429 and 503: not done. 504: WeChat was called, and what became of it is unknown. 0: Paybell itself did not answer.
const AGAIN = [0, 429, 503, 504];
const GIVE_UP_AFTER_S = 60;

function orderPath(string $mchId, string $outTradeNo, string $rest = ''): string
{
    return '/v1/orders/' . rawurlencode($mchId) . '/' . rawurlencode($outTradeNo) . $rest;
}

/**
 * The status and the document that came back, after as many repeats as it took. Never change anything between two tries,
 * least of all the number: a new one could be paid, or paid back, beside the old one.
 */
function demand(string $method, string $path, ?array $body = null): array
{
    $until = time() + GIVE_UP_AFTER_S;
    while (true) {
        [$status, $document, $wait] = ask($method, $path, $body);
        if (!in_array($status, AGAIN, true) || time() + $wait > $until) {
            return [$status, $document];
        }
        fwrite(STDERR, "not known yet ($status), again in $wait s\n");
        sleep($wait);
    }
}

/** One try: status, document, and in how many seconds to come back. */
function ask(string $method, string $path, ?array $body): array
{
    $api = rtrim(getenv('PAYBELL_API') ?: 'http://127.0.0.1:8081', '/');
    $headers = ['Content-Type: application/json'];
    if ((string) getenv('PAYBELL_TOKEN') !== '') {
        $headers[] = 'Authorization: Bearer ' . getenv('PAYBELL_TOKEN');
    }
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => $headers,
        'content' => $body === null ? '' : json_encode($body),
        'timeout' => 40, // Longer than Paybell waits for WeChat.
        'ignore_errors' => true, // A refusal has a body that says why.
    ]]);
    $answer = @file_get_contents($api . $path, false, $context);
    if ($answer === false) {
        return [0, ['detail' => 'Paybell is away: ' . (error_get_last()['message'] ?? 'no answer')], 2];
    }
    preg_match('/^HTTP\/\S+ (\d+)/', $http_response_header[0] ?? '', $found);
    $waits = preg_grep('/^retry-after: *\d+/i', $http_response_header);
    $wait = $waits ? (int) preg_replace('/\D+/', '', reset($waits)) : 2;
    return [(int) ($found[1] ?? 0), json_decode($answer, true) ?? [], $wait];
}

/** What a refusal says to people. For programs there is `type`, which never changes. */
function explain(int $status, array $document): void
{
    fwrite(STDERR, "HTTP $status " . ($document['type'] ?? '') . ': ' . ($document['detail'] ?? '') . "\n");
}
