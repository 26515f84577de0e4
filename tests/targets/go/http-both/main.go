// http-both serves, asks itself once, and waits: the smallest program with both sides of HTTP in it.
// It is written in the language of Go 1.21, so that every version that can be watched can build it.
//
//	http-both [http2 N CALLERS]: asks itself over HTTP/2 and TLS, N times more when it is told a line
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	run := run
	if len(os.Args) == 4 && os.Args[1] == "http2" {
		run = runHTTP2
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "http-both: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	http.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	http.HandleFunc("/hijack", hijack)
	go http.Serve(listener, nil)
	response, err := http.Get("http://" + listener.Addr().String() + "/plain")
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Never asked for: it makes the linker keep what takes connections over.
func hijack(w http.ResponseWriter, _ *http.Request) {
	if hijacker, ok := w.(http.Hijacker); ok {
		if connection, _, err := hijacker.Hijack(); err == nil {
			connection.Close()
		}
	}
}
