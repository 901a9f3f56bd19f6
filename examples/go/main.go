// A shop that receives Paybell's events.
//
//	PAYBELL_WEBHOOK_SECRET=whsec_... go run . webhook
//	AMQP_URL=amqp://shop:...@127.0.0.1:5672/%2f go run . consumer
//	PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... go run . register 1900000109 T2026112000000001 1999
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: webhook | consumer | register MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN")
	}
	shop, err := OpenShop(setting("DATABASE", "shop.db"))
	if err != nil {
		return err
	}
	switch {
	case args[0] == "webhook":
		secret := strings.TrimSpace(os.Getenv("PAYBELL_WEBHOOK_SECRET"))
		if secret == "" {
			return fmt.Errorf("set PAYBELL_WEBHOOK_SECRET")
		}
		address := net.JoinHostPort(setting("HOST", "127.0.0.1"), setting("PORT", "9000"))
		server := http.Server{Addr: address, Handler: webhooks(shop, secret), ReadTimeout: 30 * time.Second}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		log.Printf("listening on http://%s", listener.Addr())
		return server.Serve(listener)
	case args[0] == "consumer":
		consume(shop, os.Getenv("AMQP_URL"), setting("AMQP_EXCHANGE", "paybell.events"),
			setting("AMQP_QUEUE", "shop.payments"))
		return nil
	case args[0] == "register" && len(args) == 4:
		totalFee, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return err
		}
		api := strings.TrimRight(setting("PAYBELL_API", "http://127.0.0.1:8081"), "/")
		return register(shop, api, os.Getenv("PAYBELL_TOKEN"), args[1], args[2], totalFee)
	}
	return fmt.Errorf("unknown arguments %q", args)
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
