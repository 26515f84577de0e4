package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"taskscope.test/serve"
)

const bigBytes = 300_000

func runServer(args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:8080", "address to serve on")
	rounds := flags.Int("work", 0, "rounds of JSON work in /echo; one is about 5 us of CPU, so 4 is a 20 us handler")
	useTLS := flags.Bool("tls", false, "serve HTTPS with a certificate made at start")
	useHTTP2 := flags.Bool("http2", false, "speak HTTP/2 only")
	streams := flags.Int("streams", 0, "streams of a connection at once; 0 is as many as Go has it")
	verbose := flags.Bool("log", false, "print a JSON line for each request when its handler has ended")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Panics of handlers are wanted here: their stacks would only hide other messages.
	server := &http.Server{
		Handler:   routes(*rounds),
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: protocols(*useHTTP2),
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: *streams},
	}
	if *verbose {
		server.Handler = logged(server.Handler)
	}
	if *useTLS {
		config, err := selfSigned()
		if err != nil {
			return err
		}
		server.TLSConfig = config
	}
	return serve.Until(server, *listen)
}

func routes(rounds int) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo/{id}", func(w http.ResponseWriter, r *http.Request) {
		work(rounds)
		write(w, []byte(r.URL.Path))
	})
	mux.HandleFunc("/status/{code}/{id}", status)
	mux.HandleFunc("/status/{code}", status)
	mux.HandleFunc("/none/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/panic/{id}", func(_ http.ResponseWriter, r *http.Request) {
		panic("asked for by " + r.URL.Path)
	})
	mux.HandleFunc("/abort/{id}", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/exit/{id}", func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
	mux.HandleFunc("/hijack/{id}", hijack)
	mux.HandleFunc("/slow/{id}", slow)
	mux.HandleFunc("/big/{id}", func(w http.ResponseWriter, _ *http.Request) {
		write(w, bytes.Repeat([]byte("x"), bigBytes))
	})
	// A mux behind a mux: what the inner one matched is the route, unless it matched nothing.
	inner := http.NewServeMux()
	inner.HandleFunc("GET /inner/found/{id}", func(w http.ResponseWriter, r *http.Request) { write(w, []byte(r.URL.Path)) })
	inner.HandleFunc("/inner/"+strings.Repeat("long/", 16)+"{id}", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/inner/", copied(inner))
	mux.HandleFunc("POST /post/{id}", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		write(w, []byte(strconv.FormatInt(n, 10)))
	})
	return mux
}

// copied hands a copy of the request on, as middleware does that adds something to its context.
func copied(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r.Clone(r.Context())) })
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || 599 < code {
		http.Error(w, "a code is 200 to 599", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
}

// slow ends early when the client goes away.
func slow(w http.ResponseWriter, r *http.Request) {
	length, err := time.ParseDuration(r.URL.Query().Get("d"))
	if err != nil || length < 0 {
		http.Error(w, "d is a duration, as in ?d=50ms", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(length):
		write(w, []byte(length.String()))
	case <-r.Context().Done():
	}
}

func hijack(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	// The client reports an answer that did not arrive.
	_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

// write leaves errors to the client: it sees that the answer is missing.
func write(w io.Writer, answer []byte) {
	_, _ = w.Write(answer)
}
