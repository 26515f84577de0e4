package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const maxAnswerBytes = 1 << 20

type item struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

type cart struct {
	User  string `json:"user"`
	Lines []struct {
		Item     string `json:"item"`
		Quantity int    `json:"quantity"`
		Cents    int    `json:"cents"`
	} `json:"lines"`
}

type receipt struct {
	ID    uint64 `json:"id"`
	Cents int    `json:"cents"`
}

// backends knows where the other services are and how to ask them.
type backends struct {
	client                                   *http.Client
	catalog, cart, payments, recommendations string
}

func (b *backends) items(ctx context.Context) (found []item, err error) {
	return found, b.call(ctx, http.MethodGet, b.catalog+"/items", "", &found)
}

func (b *backends) cartOf(ctx context.Context, user string) (found cart, err error) {
	return found, b.call(ctx, http.MethodGet, b.cart+"/cart/"+user, "", &found)
}

func (b *backends) charge(ctx context.Context, user string, cents int) (done receipt, err error) {
	body := fmt.Sprintf(`{"user":%q,"cents":%d}`, user, cents)
	return done, b.call(ctx, http.MethodPost, b.payments+"/charge", body, &done)
}

func (b *backends) suggestions(ctx context.Context, user string) (found []item, err error) {
	return found, b.call(ctx, http.MethodGet, b.recommendations+"/for/"+user, "", &found)
}

func (b *backends) call(ctx context.Context, method, url, body string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s answered %s", method, url, response.Status)
	}
	return json.Unmarshal(text, answer)
}
