package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
)

var userName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

type shop struct {
	backends
	suggestEvery uint64
	pages        atomic.Uint64
}

// home asks two services at once: the cart from a goroutine, the catalog from the handler's own.
func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	user, ok := userOf(w, r)
	if !ok {
		return
	}
	type cartAnswer struct {
		cart cart
		err  error
	}
	cartDone := make(chan cartAnswer, 1)
	go func() {
		found, err := s.cartOf(r.Context(), user)
		cartDone <- cartAnswer{found, err}
	}()
	items, err := s.items(r.Context())
	answer := <-cartDone
	if err == nil {
		err = answer.err
	}
	if err != nil {
		fail(w, http.StatusBadGateway, err)
		return
	}
	page := map[string]any{"items": items, "cart": answer.cart}
	if s.suggestEvery != 0 && s.pages.Add(1)%s.suggestEvery == 0 {
		// A page without suggestions is still a page.
		if suggested, err := s.suggestions(r.Context(), user); err == nil {
			page["suggested"] = suggested
		}
	}
	reply(w, page)
}

func (s *shop) checkout(w http.ResponseWriter, r *http.Request) {
	user, ok := userOf(w, r)
	if !ok {
		return
	}
	found, err := s.cartOf(r.Context(), user)
	if err != nil {
		fail(w, http.StatusBadGateway, err)
		return
	}
	cents := 0
	for _, line := range found.Lines {
		cents += line.Quantity * line.Cents
	}
	done, err := s.charge(r.Context(), user, cents)
	if err != nil {
		fail(w, http.StatusBadGateway, err)
		return
	}
	reply(w, done)
}

func userOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	user := r.URL.Query().Get("user")
	if user == "" {
		user = "guest"
	}
	if !userName.MatchString(user) {
		http.Error(w, "a user is 1 to 32 of a-z and 0-9", http.StatusBadRequest)
		return "", false
	}
	return user, true
}

func reply(w http.ResponseWriter, page any) {
	text, err := json.Marshal(page)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(text); err != nil {
		fmt.Fprintln(os.Stderr, "shop-web: cannot answer:", err)
	}
}

func fail(w http.ResponseWriter, status int, err error) {
	http.Error(w, err.Error(), status)
}
