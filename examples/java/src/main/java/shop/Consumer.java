package shop;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Envelope;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Receives Paybell's events over RabbitMQ.
 *
 * <p>AMQP_URL=amqp://shop:...@127.0.0.1:5672/%2f java -cp ... shop.Consumer
 *
 * <p>The queue is the shop's own and durable: what comes while the shop is down waits in it. A message is acknowledged
 * only after the transaction, so whatever is interrupted comes again.
 */
public final class Consumer {
    private static final long PAUSE_MS = 2_000;

    public static void main(String[] args) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("AMQP_URL"));
        // We begin anew ourselves, also after trouble with the database.
        factory.setAutomaticRecoveryEnabled(false);
        Shop shop = new Shop(Webhook.setting("DATABASE", "shop.db"));
        while (true) {
            try {
                consume(factory, shop);
            } catch (Exception error) {
                System.err.println(error + "; again in " + PAUSE_MS / 1000 + " s");
                Thread.sleep(PAUSE_MS);
            }
        }
    }

    /** Consumes until the connection is gone, or an event could not be handled. */
    private static void consume(ConnectionFactory factory, Shop shop) throws Exception {
        String exchange = Webhook.setting("AMQP_EXCHANGE", "paybell.events");
        String queue = Webhook.setting("AMQP_QUEUE", "shop.payments");
        // However this ends, the connection is closed, and what was not acknowledged goes back into the queue.
        try (Connection connection = factory.newConnection()) {
            CompletableFuture<Void> end = new CompletableFuture<>();
            connection.addShutdownListener(end::completeExceptionally);
            Channel channel = connection.createChannel();
            channel.queueDeclare(queue, true, false, false, Map.of("x-queue-type", "quorum"));
            channel.queueBind(queue, exchange, "order.#");
            channel.basicQos(20);
            channel.basicConsume(queue, false, new DefaultConsumer(channel) {
                @Override
                public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
                    try {
                        handle(channel, envelope.getDeliveryTag(), body, shop);
                    } catch (Exception error) {
                        end.completeExceptionally(error);
                    }
                }

                @Override
                public void handleCancel(String tag) {
                    end.completeExceptionally(new IOException("the queue was deleted"));
                }
            });
            System.out.println("listening on " + queue);
            end.get();
        }
    }

    private static void handle(Channel channel, long tag, byte[] body, Shop shop) throws Exception {
        JsonObject event;
        try {
            event = JsonParser.parseString(new String(body, StandardCharsets.UTF_8)).getAsJsonObject();
        } catch (JsonParseException | IllegalStateException error) {
            // It will never be readable. It goes where the queue's policy sends what is rejected.
            System.err.println("not a JSON object, rejected");
            channel.basicReject(tag, false);
            return;
        }
        String done = shop.take(event);
        channel.basicAck(tag, false);
        System.out.println(Shop.text(event, "type") + " " + Shop.text(event, "subject") + ": " + done);
    }
}
