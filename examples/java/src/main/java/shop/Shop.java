package shop;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import org.sqlite.SQLiteConfig;
import org.sqlite.SQLiteDataSource;

/**
 * What a shop does with Paybell's events: the part to copy. Where events come from does not matter here: {@link Webhook}
 * brings them by HTTP, {@link Consumer} by RabbitMQ, and both may run at once.
 *
 * <p>Every event may come again, late, or in another order than it happened. So each is handled in one database
 * transaction that first stores the event's id and then has its effect: either both stay or neither.
 */
public final class Shop {
    private static final String[] SCHEMA = {
        // Keep ids at least as long as Paybell keeps orders (retention.orders, 35 days): a repeat may come that late.
        """
        CREATE TABLE IF NOT EXISTS events (
            id TEXT PRIMARY KEY,
            type TEXT NOT NULL,
            received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
        )""",
        // state: new -> released (nobody paid) -> held (a person looks) -> paid (shipped) -> refunded. It only rises.
        """
        CREATE TABLE IF NOT EXISTS orders (
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            total_fee INTEGER,
            state TEXT NOT NULL DEFAULT 'new',
            PRIMARY KEY (mch_id, out_trade_no)
        )""",
        // What the warehouse sends. A row costs goods, so it is written in the transaction of its event, nowhere else.
        """
        CREATE TABLE IF NOT EXISTS shipments (
            id INTEGER PRIMARY KEY,
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            transaction_id TEXT NOT NULL
        )""",
        // What a person has to look at.
        """
        CREATE TABLE IF NOT EXISTS questions (
            id INTEGER PRIMARY KEY,
            mch_id TEXT NOT NULL,
            out_trade_no TEXT NOT NULL,
            question TEXT NOT NULL
        )""",
    };

    private final SQLiteDataSource database;

    /** One database file. Several threads and processes may use it at once. */
    public Shop(String path) throws SQLException {
        SQLiteConfig config = new SQLiteConfig();
        config.setJournalMode(SQLiteConfig.JournalMode.WAL);
        config.setBusyTimeout(10_000); // A busy database is waited for.
        // Of two that come at the same time, the second waits here, and then sees what the first one stored.
        config.setTransactionMode(SQLiteConfig.TransactionMode.IMMEDIATE);
        database = new SQLiteDataSource(config);
        database.setUrl("jdbc:sqlite:" + path);
        try (Connection db = database.getConnection(); Statement statement = db.createStatement()) {
            for (String table : SCHEMA) {
                statement.execute(table);
            }
        }
    }

    /** The shop's own order, before the payer is asked to pay. */
    public void addOrder(String mchId, String outTradeNo, long totalFee) throws SQLException {
        try (Connection db = database.getConnection()) {
            update(db, "INSERT INTO orders (mch_id, out_trade_no, total_fee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    mchId, outTradeNo, totalFee);
        }
    }

    /**
     * Handles an event once, however often it comes. When this returns, everything is on disk; when it throws, nothing
     * happened and the event may come again. Returns what was done, for the log.
     */
    public String take(JsonObject event) throws SQLException {
        try (Connection db = database.getConnection()) {
            db.setAutoCommit(false);
            try {
                String done = once(db, event);
                db.commit();
                return done;
            } catch (SQLException | RuntimeException error) {
                db.rollback();
                throw error;
            }
        }
    }

    /** How often the order was shipped. */
    public int shipped(String outTradeNo) throws SQLException {
        try (Connection db = database.getConnection();
                PreparedStatement query =
                        db.prepareStatement("SELECT count(*) FROM shipments WHERE out_trade_no = ?")) {
            query.setString(1, outTradeNo);
            try (ResultSet row = query.executeQuery()) {
                return row.getInt(1);
            }
        }
    }

    private static String once(Connection db, JsonObject event) throws SQLException {
        String type = event.get("type").getAsString();
        String insert = "INSERT INTO events (id, type) VALUES (?, ?) ON CONFLICT DO NOTHING";
        if (update(db, insert, event.get("id").getAsString(), type) == 0) {
            return "known already";
        }
        JsonObject data = event.getAsJsonObject("data");
        return switch (type) {
            case "order.paid" -> paid(db, data);
            case "order.refunded" -> refunded(db, data);
            case "order.mismatch" -> mismatch(db, data);
            case "order.unpaid", "order.closed", "order.failed" -> denied(db, type, data);
            default -> "ignored: a type that this shop does not know"; // More types will come.
        };
    }

    private static String paid(Connection db, JsonObject data) throws SQLException {
        Order order = order(db, data);
        if (order.state.equals("paid")) {
            return "shipped already";
        }
        if (order.state.equals("refunded")) {
            return ask(db, data, "the payment went back before we heard of it");
        }
        if (text(data, "trade_state").equals("REFUND")) {
            setState(db, data, "refunded");
            return ask(db, data, "paid, and at least in part refunded already: ship nothing, part, or all?");
        }
        // Paybell compares the amount with the registered one. Where nobody registered the order, that is left to us.
        long totalFee = data.get("total_fee").getAsLong();
        if (!data.get("registered").getAsBoolean() && (order.totalFee == null || order.totalFee != totalFee)) {
            setState(db, data, "held");
            return ask(db, data, "paid " + totalFee + " fen, and nobody registered a price");
        }
        // Also when late: the payer paid after we had released the goods. A shop that cannot deliver any more refunds
        // here instead.
        setState(db, data, "paid");
        update(db, "INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)",
                text(data, "mch_id"), text(data, "out_trade_no"), text(data, "transaction_id"));
        return data.get("late").getAsBoolean() ? "shipped, though paid late" : "shipped";
    }

    private static String refunded(Connection db, JsonObject data) throws SQLException {
        boolean wasShipped = order(db, data).state.equals("paid");
        setState(db, data, "refunded");
        return wasShipped
                ? ask(db, data, "at least part of the payment went back: stop or recall the goods?")
                : "refunded; nothing was shipped";
    }

    /** Not a payment: if a person accepts it, order.paid follows. It may also be a second payment of a paid order. */
    private static String mismatch(Connection db, JsonObject data) throws SQLException {
        String state = order(db, data).state;
        if (state.equals("new") || state.equals("released")) {
            setState(db, data, "held");
        }
        return ask(db, data, "payment disagrees in " + text(data, "mismatch"));
    }

    /** A denial never undoes what we know of a payment, whatever its version. */
    private static String denied(Connection db, String type, JsonObject data) throws SQLException {
        String state = order(db, data).state;
        if (!state.equals("new")) {
            return type + " ignored: the order is " + state;
        }
        setState(db, data, "released");
        return "goods released";
    }

    private record Order(Long totalFee, String state) {}

    /** Price and state. An order that we do not know is new and has no price. */
    private static Order order(Connection db, JsonObject data) throws SQLException {
        String query = "SELECT total_fee, state FROM orders WHERE mch_id = ? AND out_trade_no = ?";
        try (PreparedStatement statement = db.prepareStatement(query)) {
            statement.setString(1, text(data, "mch_id"));
            statement.setString(2, text(data, "out_trade_no"));
            try (ResultSet row = statement.executeQuery()) {
                if (!row.next()) {
                    return new Order(null, "new");
                }
                long totalFee = row.getLong("total_fee");
                return new Order(row.wasNull() ? null : totalFee, row.getString("state"));
            }
        }
    }

    private static void setState(Connection db, JsonObject data, String state) throws SQLException {
        update(db, """
                INSERT INTO orders (mch_id, out_trade_no, state) VALUES (?, ?, ?)
                ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = excluded.state""",
                text(data, "mch_id"), text(data, "out_trade_no"), state);
    }

    private static String ask(Connection db, JsonObject data, String question) throws SQLException {
        update(db, "INSERT INTO questions (mch_id, out_trade_no, question) VALUES (?, ?, ?)",
                text(data, "mch_id"), text(data, "out_trade_no"), question);
        return "left to a person: " + question;
    }

    private static int update(Connection db, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int index = 0; index < values.length; index++) {
                statement.setObject(index + 1, values[index]);
            }
            return statement.executeUpdate();
        }
    }

    /** A field that may be null or missing, as text; empty then. */
    static String text(JsonObject object, String name) {
        JsonElement value = object.get(name);
        return value == null || value.isJsonNull() ? "" : value.getAsString();
    }
}
