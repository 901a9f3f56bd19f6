package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// register stores an order and registers it with Paybell, before the payer is asked to pay. From then on Paybell
// compares every payment with this amount, and asks WeChat even if no notification ever comes. The same call may be
// repeated at any time.
func register(shop *Shop, api, token, mchID, outTradeNo string, totalFee int64) error {
	if err := shop.AddOrder(mchID, outTradeNo, totalFee); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]int64{"total_fee": totalFee}) // In fen, never in yuan.
	if err != nil {
		return err
	}
	address := fmt.Sprintf("%s/v1/orders/%s/%s", api, url.PathEscape(mchID), url.PathEscape(outTradeNo))
	request, err := http.NewRequest(http.MethodPut, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		// The order can still be sold: its payment is found by the notification, with registered: false.
		return fmt.Errorf("Paybell is away: %w", err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusCreated:
		fmt.Println("registered")
		return nil
	case http.StatusOK:
		fmt.Println("was registered already")
		return nil
	}
	// 409: registered with another amount. Repeating does not help: use a new out_trade_no for a new price.
	words, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	return fmt.Errorf("HTTP %d: %s", response.StatusCode, words)
}
