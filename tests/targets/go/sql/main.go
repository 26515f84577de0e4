// sql is a target with known truth: a server whose handlers ask a database, each in its own form. The id of a
// request is the last part of its path, and in the statement it is a part of the table's name; the literal beside
// it must be seen nowhere.
//
//	sql ADDR
//
// A path is /FORM/ID. As for /text/ID, what is asked is the body.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

const exitUsage = 64

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "sql: the argument is an address to serve on")
		os.Exit(exitUsage)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "sql: %v\n", err)
		os.Exit(1)
	}
}

func serve(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("ready\nlistening %s\n", listener.Addr())
	return http.Serve(listener, newShop())
}
