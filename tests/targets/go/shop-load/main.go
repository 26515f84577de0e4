// shop-load visits the demo shop at a fixed rate: three pages, then a checkout, and again.
//
// Progress goes to stderr; the one line on stdout is the sum, as JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "URL of shop-web")
	rps := flag.Float64("rps", 50, "requests per second")
	length := flag.Duration("for", 30*time.Second, "how long; 0 is until interrupted")
	workers := flag.Int("workers", 8, "requests under way at once, at most")
	flag.Parse()
	if *rps <= 0 || 1e6 < *rps || *workers <= 0 || *length < 0 {
		fmt.Fprintln(os.Stderr, "shop-load: -rps is above 0 and at most 1000000, -workers above 0, -for not negative")
		os.Exit(64)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *length != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	fmt.Println("ready")
	load := &load{
		url:    *url,
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: *workers}},
	}
	stopProgress := load.progress(2 * time.Second)
	load.run(ctx, time.Duration(float64(time.Second) / *rps), *workers)
	stopProgress()
	if err := json.NewEncoder(os.Stdout).Encode(load.total()); err != nil {
		fmt.Fprintln(os.Stderr, "shop-load:", err)
		os.Exit(1)
	}
}
