package shop;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/**
 * Stores an order and registers it with Paybell, before the payer is asked to pay. From then on Paybell compares every
 * payment with this amount, and asks WeChat even if no notification ever comes.
 *
 * <p>PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... java -cp ... shop.Register 1900000109 T2026112000000001 1999
 */
public final class Register {
    public static void main(String[] args) throws Exception {
        String mchId = args[0];
        String outTradeNo = args[1];
        long totalFee = Long.parseLong(args[2]);
        new Shop(Webhook.setting("DATABASE", "shop.db")).addOrder(mchId, outTradeNo, totalFee);
        System.exit(register(mchId, outTradeNo, totalFee) ? 0 : 1);
    }

    /** True if Paybell knows the order with this amount now. The same call may be repeated at any time. */
    private static boolean register(String mchId, String outTradeNo, long totalFee) throws InterruptedException {
        String api = Webhook.setting("PAYBELL_API", "http://127.0.0.1:8081").replaceAll("/$", "");
        HttpRequest.Builder request = HttpRequest.newBuilder()
                .uri(URI.create(api + "/v1/orders/" + escaped(mchId) + "/" + escaped(outTradeNo)))
                .timeout(Duration.ofSeconds(10))
                .header("Content-Type", "application/json")
                .PUT(HttpRequest.BodyPublishers.ofString("{\"total_fee\":" + totalFee + "}")); // In fen, never in yuan.
        String token = Webhook.setting("PAYBELL_TOKEN", "");
        if (!token.isEmpty()) {
            request.header("Authorization", "Bearer " + token);
        }
        HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
        HttpResponse<String> response;
        try {
            response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        } catch (IOException error) {
            // The order can still be sold: its payment is found by the notification, with registered: false.
            System.err.println("Paybell is away: " + error);
            return false;
        }
        if (response.statusCode() == 201 || response.statusCode() == 200) {
            System.out.println(response.statusCode() == 201 ? "registered" : "was registered already");
            return true;
        }
        // 409: registered with another amount. Repeating does not help: use a new out_trade_no for a new price.
        System.err.println("HTTP " + response.statusCode() + ": " + response.body());
        return false;
    }

    private static String escaped(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
