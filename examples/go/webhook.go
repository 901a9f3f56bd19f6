package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	tolerance    = 5 * time.Minute
	bodyBytesMax = 256 * 1024
)

// verify checks Standard Webhooks over the bytes that came: parsing and writing JSON again would change them.
func verify(secret string, header http.Header, body []byte, now time.Time) error {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("no timestamp")
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return errors.New("timestamp too old or too new")
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 { // With an empty key everybody could sign.
		return errors.New("PAYBELL_WEBHOOK_SECRET is no secret")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// During a rotation there are several signatures, with a blank between them. One that fits is enough.
	for _, signature := range strings.Fields(header.Get("webhook-signature")) {
		if hmac.Equal(expected, []byte(signature)) {
			return nil
		}
	}
	return errors.New("no signature fits")
}

// webhooks receives Paybell's events by HTTP.
func webhooks(shop *Shop, secret string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/webhooks/paybell", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			answer(w, http.StatusMethodNotAllowed, map[string]any{"error": "POST only"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
		if err != nil {
			answer(w, http.StatusRequestEntityTooLarge, map[string]any{"error": "too large, or broken off"})
			return
		}
		if err := verify(secret, r.Header, body, time.Now()); err != nil {
			answer(w, http.StatusUnauthorized, map[string]any{"error": err.Error()})
			return
		}
		var event Event
		if err := json.Unmarshal(body, &event); err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"error": "not an event"})
			return
		}
		done, err := shop.Take(event)
		if err != nil { // Paybell tries again after any answer that is not 2xx.
			log.Printf("%s %s: %v", event.Type, event.Subject, err)
			answer(w, http.StatusInternalServerError, map[string]any{"error": "try again"})
			return
		}
		log.Printf("%s %s: %s", event.Type, event.Subject, done)
		answer(w, http.StatusOK, map[string]any{"done": done})
	})
	// GET /shipped/{out_trade_no}: for `paybell rehearse`, and not for the public.
	mux.HandleFunc("/shipped/", func(w http.ResponseWriter, r *http.Request) {
		outTradeNo := strings.TrimPrefix(r.URL.Path, "/shipped/")
		shipped, err := shop.Shipped(outTradeNo)
		if err != nil {
			answer(w, http.StatusInternalServerError, map[string]any{"error": "try again"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"out_trade_no": outTradeNo, "shipped": shipped})
	})
	return mux
}

func answer(w http.ResponseWriter, status int, document map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(document); err != nil {
		log.Printf("the answer was not sent, the event comes again: %v", err)
	}
}
