// shop-web is the front of the demo shop: every page is made of answers of other services.
//
// Its faults are part of the demo: each -suggest-every-th page asks a recommendations service that is
// down (the connect is refused, the page is served without it), and a checkout answers 502 whenever the
// payments service does not take the money.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"taskscope.test/serve"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve on")
	catalog := flag.String("catalog", "http://127.0.0.1:8081", "URL of shop-catalog")
	cart := flag.String("cart", "http://127.0.0.1:8082", "URL of shop-cart")
	payments := flag.String("payments", "http://127.0.0.1:8083", "URL of shop-payments")
	recommendations := flag.String("recommendations", "http://127.0.0.1:8084", "URL of a service that is down")
	suggestEvery := flag.Uint64("suggest-every", 10, "ask for recommendations on every n-th page; 0 is never")
	flag.Parse()

	shop := &shop{
		backends: backends{
			client: &http.Client{
				Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
				Timeout:   3 * time.Second,
			},
			catalog:         *catalog,
			cart:            *cart,
			payments:        *payments,
			recommendations: *recommendations,
		},
		suggestEvery: *suggestEvery,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", shop.home)
	mux.HandleFunc("GET /checkout", shop.checkout)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	if err := serve.Until(server, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "shop-web:", err)
		os.Exit(1)
	}
}
