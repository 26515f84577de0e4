// http is a target with known truth: every request has an id as the last part of its path, the client
// prints what it saw of it, and the server what it did.
//
//	http server -listen ADDR [-work] [-tls] [-http2] [-log]
//	http proxy  -listen ADDR -to URL [-http2]
//	http client -url URL -n 1000 -c 4 [-http2]
package main

import (
	"fmt"
	"os"
)

const exitUsage = 64

func main() {
	modes := map[string]func([]string) error{"server": runServer, "proxy": runProxy, "client": runClient}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "http: the first argument is server, proxy or client")
		os.Exit(exitUsage)
	}
	if err := modes[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "http %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
