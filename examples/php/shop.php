<?php

/**
 * What a shop does with Paybell's events: the part to copy. Where events come from does not matter here.
 *
 * Every event may come again, late, or in another order than it happened. So each is handled in one database
 * transaction that first stores the event's id and then has its effect: either both stay or neither.
 */

declare(strict_types=1);

final class Shop
{
    private const SCHEMA = <<<'SQL'
        -- Keep ids at least as long as Paybell keeps orders (retention.orders, 35 days): a repeat may come that late.
        CREATE TABLE IF NOT EXISTS events (
            id TEXT PRIMARY KEY,
            type TEXT NOT NULL,
            received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        );
        -- state: new -> released (nobody paid) -> held (a person looks) -> paid (shipped) -> refunded. It only rises.
        CREATE TABLE IF NOT EXISTS orders (
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            total_fee INTEGER,
            state TEXT NOT NULL DEFAULT 'new',
            PRIMARY KEY (mch_id, out_trade_no)
        );
        -- What the warehouse sends. A row here costs goods, so it is written in the transaction of its event and
        -- nowhere else.
        CREATE TABLE IF NOT EXISTS shipments (
            id INTEGER PRIMARY KEY,
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            transaction_id TEXT NOT NULL
        );
        -- What a person has to look at.
        CREATE TABLE IF NOT EXISTS questions (
            id INTEGER PRIMARY KEY,
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            question TEXT NOT NULL
        );
        SQL;

    private PDO $db;

    public function __construct(string $path)
    {
        // A busy database is waited for, up to ten seconds. Errors are thrown.
        $this->db = new PDO("sqlite:$path", null, null, [
            PDO::ATTR_TIMEOUT => 10,
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
        ]);
        $tables = "SELECT count(*) FROM sqlite_master WHERE name = 'questions'";
        if ((int) $this->run($tables, [])->fetchColumn() === 0) {
            $this->db->exec('PRAGMA journal_mode = WAL');
            $this->transaction(fn () => $this->db->exec(self::SCHEMA));
        }
    }

    /** The shop's own order, before the payer is asked to pay. */
    public function addOrder(string $mchId, string $outTradeNo, int $totalFee): void
    {
        $this->run(
            'INSERT INTO orders (mch_id, out_trade_no, total_fee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
            [$mchId, $outTradeNo, $totalFee],
        );
    }

    /**
     * Handles an event once, however often it comes. When this returns, everything is on disk; when it throws, nothing
     * happened and the event may come again. Returns what was done, for the log.
     */
    public function take(array $event): string
    {
        return $this->transaction(function () use ($event): string {
            $stored = $this->run(
                'INSERT INTO events (id, type) VALUES (?, ?) ON CONFLICT DO NOTHING',
                [$event['id'], $event['type']],
            );
            return $stored->rowCount() === 0 ? 'known already' : $this->handle($event['type'], $event['data'] ?? []);
        });
    }

    /** What the shop knows of the order. */
    public function state(string $mchId, string $outTradeNo): string
    {
        return $this->order(['mch_id' => $mchId, 'out_trade_no' => $outTradeNo])['state'];
    }

    /** How often the order was shipped. */
    public function shipped(string $outTradeNo): int
    {
        $query = 'SELECT count(*) FROM shipments WHERE out_trade_no = ?';
        return (int) $this->run($query, [$outTradeNo])->fetchColumn();
    }

    private function handle(string $type, array $data): string
    {
        return match ($type) {
            'order.paid' => $this->paid($data),
            'order.refunded' => $this->refunded($data),
            'order.mismatch' => $this->mismatch($data),
            'order.unpaid', 'order.closed', 'order.failed' => $this->denied($type, $data),
            default => 'ignored: a type that this shop does not know', // More types will come.
        };
    }

    private function paid(array $data): string
    {
        ['state' => $state, 'total_fee' => $totalFee] = $this->order($data);
        if ($state === 'paid') {
            return 'shipped already';
        }
        if ($state === 'refunded') {
            return $this->ask($data, 'the payment went back before we heard of it');
        }
        if ($data['trade_state'] === 'REFUND') {
            $this->setState($data, 'refunded');
            return $this->ask($data, 'paid, and at least in part refunded already: ship nothing, part, or all?');
        }
        // Paybell compares the amount with the registered one. Where nobody registered the order, that is left to us.
        if (!$data['registered'] && $data['total_fee'] !== $totalFee) {
            $this->setState($data, 'held');
            return $this->ask($data, "paid {$data['total_fee']} fen, and nobody registered a price");
        }
        // Also when $data['late']: the payer paid after we had released the goods. A shop that cannot deliver any more
        // refunds here instead.
        $this->setState($data, 'paid');
        $this->run(
            'INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)',
            [$data['mch_id'], $data['out_trade_no'], $data['transaction_id']],
        );
        return $data['late'] ? 'shipped, though paid late' : 'shipped';
    }

    private function refunded(array $data): string
    {
        $state = $this->order($data)['state'];
        $this->setState($data, 'refunded');
        return $state === 'paid'
            ? $this->ask($data, 'at least part of the payment went back: stop or recall the goods?')
            : 'refunded; nothing was shipped';
    }

    /** Not a payment: if a person accepts it, order.paid follows. It may also be a second payment of a paid order. */
    private function mismatch(array $data): string
    {
        if (in_array($this->order($data)['state'], ['new', 'released'], true)) {
            $this->setState($data, 'held');
        }
        return $this->ask($data, "payment disagrees in {$data['mismatch']}: paid {$data['total_fee']} fen");
    }

    /** A denial never undoes what we know of a payment, whatever its version. */
    private function denied(string $type, array $data): string
    {
        $state = $this->order($data)['state'];
        if ($state !== 'new') {
            return "$type ignored: the order is $state";
        }
        $this->setState($data, 'released');
        return 'goods released';
    }

    /** Price and state. An order that we do not know is new and has no price. */
    private function order(array $data): array
    {
        $query = 'SELECT total_fee, state FROM orders WHERE mch_id = ? AND out_trade_no = ?';
        return $this->run($query, [$data['mch_id'], $data['out_trade_no']])->fetch()
            ?: ['total_fee' => null, 'state' => 'new'];
    }

    private function setState(array $data, string $state): void
    {
        $this->run(
            'INSERT INTO orders (mch_id, out_trade_no, state) VALUES (?, ?, ?)
             ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = excluded.state',
            [$data['mch_id'], $data['out_trade_no'], $state],
        );
    }

    private function ask(array $data, string $question): string
    {
        $this->run(
            'INSERT INTO questions (mch_id, out_trade_no, question) VALUES (?, ?, ?)',
            [$data['mch_id'], $data['out_trade_no'], $question],
        );
        return "left to a person: $question";
    }

    /**
     * Everything inside or nothing. IMMEDIATE: of two requests with the same event, the second waits here, and then sees
     * what the first one stored. (With MySQL: the unique key on events.id makes the second INSERT wait.)
     */
    private function transaction(callable $work): mixed
    {
        $this->db->exec('BEGIN IMMEDIATE');
        try {
            $result = $work();
            $this->db->exec('COMMIT');
            return $result;
        } catch (Throwable $error) {
            $this->db->exec('ROLLBACK');
            throw $error;
        }
    }

    private function run(string $sql, array $values): PDOStatement
    {
        $statement = $this->db->prepare($sql);
        $statement->execute($values);
        return $statement;
    }
}
