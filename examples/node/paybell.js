// Demands of Paybell's private API that are repeated until their outcome is known. Nothing here knows of a shop.

// The answers after which nobody knows, or Paybell asks to come back: the very same request again is always right.
// 429 and 503: not done. 504: WeChat was called, and what became of it is unknown. 0: Paybell itself did not answer.
const AGAIN = [0, 429, 503, 504];
const GIVE_UP_AFTER_MS = 60_000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function orderPath(mchId, outTradeNo, rest = '') {
  return `/v1/orders/${[mchId, outTradeNo].map(encodeURIComponent).join('/')}${rest}`;
}

// The status and the document that came back, after as many repeats as it took. Never change anything between two tries,
// least of all the number: a new one could be paid, or paid back, beside the old one.
export async function demand(method, path, body) {
  const until = Date.now() + GIVE_UP_AFTER_MS;
  for (;;) {
    const { status, document, waitS } = await ask(method, path, body);
    if (!AGAIN.includes(status) || Date.now() + waitS * 1000 > until) return { status, document };
    console.error(`not known yet (${status}), again in ${waitS} s`);
    await sleep(waitS * 1000);
  }
}

// One try.
async function ask(method, path, body) {
  const { PAYBELL_API = 'http://127.0.0.1:8081', PAYBELL_TOKEN } = process.env;
  const headers = { 'content-type': 'application/json' };
  if (PAYBELL_TOKEN) headers.authorization = `Bearer ${PAYBELL_TOKEN}`;
  try {
    const response = await fetch(PAYBELL_API.replace(/\/$/, '') + path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(40_000), // Longer than Paybell waits for WeChat.
    });
    const waitS = Number(response.headers.get('retry-after') ?? 2);
    return { status: response.status, document: await response.json(), waitS };
  } catch (error) {
    return { status: 0, document: { detail: `Paybell is away: ${error.cause?.message ?? error.message}` }, waitS: 2 };
  }
}

// What a refusal says to people. For programs there is `type`, which never changes.
export function explain({ status, document }) {
  console.error(`HTTP ${status} ${document.type ?? ''}: ${document.detail ?? ''}`);
}
