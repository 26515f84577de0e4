// http-separate speaks HTTP/2 without TLS by golang.org/x/net/http2, and not by its copy in net/http.
//
//	http-separate server -listen ADDR
//	http-separate client -url URL -n 1000 -c 4
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"taskscope.test/serve"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "http-separate: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("the first argument is server or client")
	}
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to serve on")
	url := flags.String("url", "", "URL that the id is appended to")
	n := flags.Int64("n", 1000, "requests")
	callers := flags.Int("c", 1, "requests under way at once")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "server" {
		return serve.Until(&http.Server{Handler: h2c.NewHandler(http.HandlerFunc(answer), &http2.Server{})}, *listen)
	}
	fmt.Println(ask(*url, *n, *callers))
	return nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	// An answer that does not arrive is the client's to notice.
	_, _ = io.WriteString(w, r.URL.Path)
}

// ask returns how many requests failed.
func ask(url string, n int64, callers int) int64 {
	dial := func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	client := &http.Client{Transport: &http2.Transport{AllowHTTP: true, DialTLSContext: dial}}
	var next, failed atomic.Int64
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for id := next.Add(1); id <= n; id = next.Add(1) {
				if err := get(client, fmt.Sprint(url, id)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	done.Wait()
	return failed.Load()
}

func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
