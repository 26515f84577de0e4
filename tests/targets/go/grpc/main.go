// grpc is a target with known truth: the id of each call is in the name of its method, which the probes
// read, and in its message, which server and client compare.
//
//	grpc server -listen ADDR [-tls] [-workers N] [-to ADDR] [-http URL] [-front]
//	grpc client -to ADDR -kind unary -n 1000 -c 64
//
// It is written in the language of Go 1.21, so that old versions of gRPC can be built with it.
package main

import (
	"fmt"
	"os"
)

const exitUsage = 64

func main() {
	modes := map[string]func([]string) error{"server": runServer, "client": runClient}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "grpc: the first argument is server or client")
		os.Exit(exitUsage)
	}
	if err := modes[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "grpc %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
