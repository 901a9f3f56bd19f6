package main

import (
	"encoding/json"
	"errors"
	"log"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const pause = 2 * time.Second

// consume receives Paybell's events over RabbitMQ, for ever. The queue is the shop's own and durable: what comes while
// the shop is down waits in it. A message is acknowledged only after the transaction, so whatever is interrupted comes
// again.
func consume(shop *Shop, url, exchange, queue string) {
	for {
		err := consumeOnce(shop, url, exchange, queue)
		log.Printf("%v; again in %s", err, pause)
		time.Sleep(pause)
	}
}

func consumeOnce(shop *Shop, url, exchange, queue string) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	// However this ends, what was not acknowledged goes back into the queue.
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return err
	}
	if err := channel.QueueBind(queue, "order.#", exchange, false, nil); err != nil {
		return err
	}
	if err := channel.Qos(20, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	log.Printf("listening on %s", queue)
	for delivery := range deliveries {
		var event Event
		if err := json.Unmarshal(delivery.Body, &event); err != nil {
			// It will never be readable. It goes where the queue's policy sends what is rejected.
			log.Printf("not an event, rejected: %v", err)
			if err := delivery.Reject(false); err != nil {
				return err
			}
			continue
		}
		done, err := shop.Take(event)
		if err != nil {
			return err
		}
		if err := delivery.Ack(false); err != nil {
			return err
		}
		log.Printf("%s %s: %s", event.Type, event.Subject, done)
	}
	return errors.New("connection lost")
}
