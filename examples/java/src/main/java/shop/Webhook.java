package shop;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Base64;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Receives Paybell's webhooks. In Spring take the body as {@code @RequestBody byte[]} and keep {@link #verify}.
 *
 * <p>PAYBELL_WEBHOOK_SECRET=whsec_... java -cp ... shop.Webhook
 */
public final class Webhook {
    private static final long TOLERANCE_SECONDS = 5 * 60;
    private static final int BODY_BYTES_MAX = 256 * 1024;

    private final Shop shop;
    private final String secret;

    private Webhook(Shop shop, String secret) {
        this.shop = shop;
        this.secret = secret;
    }

    public static void main(String[] args) throws Exception {
        String secret = System.getenv("PAYBELL_WEBHOOK_SECRET");
        if (secret == null) {
            System.err.println("set PAYBELL_WEBHOOK_SECRET");
            System.exit(2);
        }
        Webhook webhook = new Webhook(new Shop(setting("DATABASE", "shop.db")), secret.strip());
        String host = setting("HOST", "127.0.0.1");
        int port = Integer.parseInt(setting("PORT", "9000"));
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 128);
        server.setExecutor(Executors.newFixedThreadPool(16));
        server.createContext("/webhooks/paybell", exchange -> answer(exchange, webhook::receive));
        // GET /shipped/{out_trade_no}: for `paybell rehearse`, and not for the public.
        server.createContext("/shipped/", exchange -> answer(exchange, webhook::shipped));
        server.start();
        System.out.println("listening on http://" + host + ":" + server.getAddress().getPort());
    }

    /**
     * Standard Webhooks over the bytes that came: parsing and writing JSON again would change them. Returns what is
     * wrong, or null.
     */
    static String verify(String secret, String id, String timestamp, String signatures, byte[] body, Instant now)
            throws GeneralSecurityException {
        if (id == null || timestamp == null || signatures == null || !timestamp.matches("\\d{1,12}")) {
            return "no signature or timestamp";
        }
        if (Math.abs(now.getEpochSecond() - Long.parseLong(timestamp)) > TOLERANCE_SECONDS) {
            return "timestamp too old or too new";
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.replaceFirst("^whsec_", "")), "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
        // During a rotation there are several signatures, with a blank between them. One that fits is enough.
        for (String signature : signatures.split(" ")) {
            if (MessageDigest.isEqual(expected, signature.getBytes(StandardCharsets.UTF_8))) {
                return null;
            }
        }
        return "no signature fits";
    }

    private Answer receive(HttpExchange exchange) throws Exception {
        if (!exchange.getRequestMethod().equals("POST")) {
            return Answer.of(405, "error", "POST only");
        }
        byte[] body = exchange.getRequestBody().readNBytes(BODY_BYTES_MAX + 1);
        if (body.length > BODY_BYTES_MAX) {
            return Answer.of(413, "error", "too large");
        }
        var headers = exchange.getRequestHeaders();
        String wrong = verify(secret, headers.getFirst("webhook-id"), headers.getFirst("webhook-timestamp"),
                headers.getFirst("webhook-signature"), body, Instant.now());
        if (wrong != null) {
            return Answer.of(401, "error", wrong);
        }
        JsonObject event;
        try {
            event = JsonParser.parseString(new String(body, StandardCharsets.UTF_8)).getAsJsonObject();
        } catch (JsonParseException | IllegalStateException error) {
            return Answer.of(400, "error", "not a JSON object");
        }
        String done = shop.take(event);
        System.out.println(Shop.text(event, "type") + " " + Shop.text(event, "subject") + ": " + done);
        return Answer.of(200, "done", done);
    }

    private Answer shipped(HttpExchange exchange) throws Exception {
        String outTradeNo = exchange.getRequestURI().getPath().substring("/shipped/".length());
        Answer answer = Answer.of(200, "out_trade_no", outTradeNo);
        answer.document.addProperty("shipped", shop.shipped(outTradeNo));
        return answer;
    }

    private record Answer(int status, JsonObject document) {
        static Answer of(int status, String name, String text) {
            JsonObject document = new JsonObject();
            document.addProperty(name, text);
            return new Answer(status, document);
        }
    }

    private interface Handler {
        Answer handle(HttpExchange exchange) throws Exception;
    }

    private static void answer(HttpExchange exchange, Handler handler) throws IOException {
        Answer answer;
        try {
            answer = handler.handle(exchange);
        } catch (Exception error) {
            // Paybell tries again after any answer that is not 2xx.
            error.printStackTrace();
            answer = Answer.of(500, "error", "try again");
        }
        byte[] body = answer.document.toString().getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(answer.status, body.length);
        try (exchange) {
            exchange.getResponseBody().write(body);
        }
    }

    static String setting(String name, String fallback) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? fallback : value;
    }
}
