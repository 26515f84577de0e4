// shop-catalog lists what the demo shop sells; the items are kept in Redis.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"taskscope.test/serve"
)

const redisConns = 16

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "address to serve on")
	redis := flag.String("redis", "127.0.0.1:6379", "address of the Redis server")
	flag.Parse()
	if err := run(*listen, *redis); err != nil {
		fmt.Fprintln(os.Stderr, "shop-catalog:", err)
		os.Exit(1)
	}
}

func run(listen, redis string) error {
	items := &items{redis: newPool(redis, redisConns)}
	if err := items.stockWithin(10 * time.Second); err != nil {
		return fmt.Errorf("cannot stock the shelves in Redis at %s: %w", redis, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) {
		found, err := items.all()
		reply(w, found, err)
	})
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		found, err := items.one(r.PathValue("id"))
		reply(w, found, err)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		_, err := items.redis.do("PING")
		reply(w, "ok", err)
	})
	return serve.Until(&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, listen)
}

func reply(w http.ResponseWriter, found any, err error) {
	switch {
	case errors.Is(err, errNoSuchItem):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	text, err := json.Marshal(found)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(text); err != nil {
		fmt.Fprintln(os.Stderr, "shop-catalog: cannot answer:", err)
	}
}
