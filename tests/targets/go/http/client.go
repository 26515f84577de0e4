package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// seen is what the client knows of one request; a status of 0 is an answer that did not come.
type seen struct {
	ID         string `json:"id"`
	Status     int    `json:"status"`
	DurationNs int64  `json:"duration_ns"`
	Local      string `json:"local"`
	Reused     bool   `json:"reused"`
	Error      string `json:"error,omitempty"`
}

type sum struct {
	Requests  uint64  `json:"requests"`
	Errors    uint64  `json:"errors"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

type client struct {
	http       *http.Client
	url        string
	query      string
	method     string
	body       string
	closeAfter uint64
	quiet      bool

	mutex sync.Mutex
	lines *json.Encoder
	sent  atomic.Uint64
	sum   sum
}

func runClient(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	url := flags.String("url", "http://127.0.0.1:8080/echo/", "URL that the id is appended to; a query may follow")
	n := flags.Uint64("n", 1000, "requests")
	workers := flags.Int("c", 1, "requests under way at once")
	base := flags.Uint64("base", 1, "the first id")
	rps := flags.Float64("rps", 0, "requests per second; 0 is as fast as answers come")
	keepalive := flags.Bool("keepalive", true, "use a connection for more than one request")
	closeAfter := flags.Uint64("close-after", 0, "ask to close the connection on every n-th request; 0 is never")
	method := flags.String("method", http.MethodGet, "GET, POST and so on")
	bodyBytes := flags.Int("body", 0, "bytes of body to send")
	timeout := flags.Duration("timeout", 0, "give up on a request after this; 0 is never")
	useHTTP2 := flags.Bool("http2", false, "speak HTTP/2 only")
	conns := flags.Int("conns", 0, "connections at once; 0 is as many as it takes")
	local := flags.String("local", "", "address and port to come from")
	quiet := flags.Bool("quiet", false, "print the sum only")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *workers <= 0 || *rps < 0 || 1e6 < *rps || *bodyBytes < 0 {
		return errors.New("-c is above 0, -rps is 0 to 1000000, -body is not negative")
	}
	dialer := &net.Dialer{Control: reuse}
	if *local != "" {
		addr, err := net.ResolveTCPAddr("tcp", *local)
		if err != nil {
			return err
		}
		dialer.LocalAddr = addr
	}
	path, query, _ := strings.Cut(*url, "?")
	c := &client{
		http: &http.Client{Timeout: *timeout, Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			MaxIdleConnsPerHost: *workers,
			MaxConnsPerHost:     *conns,
			DisableKeepAlives:   !*keepalive,
			Protocols:           protocols(*useHTTP2),
			DisableCompression:  true,
			// The certificate of the server is made when it starts.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}},
		url: path, query: query, method: *method, body: strings.Repeat("b", *bodyBytes),
		closeAfter: *closeAfter, quiet: *quiet, lines: json.NewEncoder(os.Stdout),
	}
	return c.run(*base, *n, *workers, *rps)
}

// reuse lets a port be taken that a connection had a moment ago.
func reuse(_, _ string, conn syscall.RawConn) error {
	var failed error
	if err := conn.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}); err != nil {
		return err
	}
	return failed
}

func (c *client) run(base, n uint64, workers int, rps float64) error {
	ids := make(chan uint64)
	var done sync.WaitGroup
	start := time.Now()
	for range workers {
		done.Add(1)
		go func() {
			defer done.Done()
			for id := range ids {
				c.report(c.one(id))
			}
		}()
	}
	for k := range n {
		if rps != 0 {
			// Due times are counted from the start, so that a late request does not lower the rate.
			time.Sleep(time.Until(start.Add(time.Duration(float64(k) / rps * float64(time.Second)))))
		}
		ids <- base + k
	}
	close(ids)
	done.Wait()
	c.sum.Seconds = time.Since(start).Seconds()
	c.sum.PerSecond = float64(c.sum.Requests) / c.sum.Seconds
	return c.lines.Encode(c.sum)
}

func (c *client) report(one seen) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.sum.Requests++
	if one.Status == 0 {
		c.sum.Errors++
	}
	if !c.quiet {
		// With stdout gone there is nobody left to tell.
		_ = c.lines.Encode(one)
	}
}

func (c *client) one(id uint64) seen {
	one := seen{ID: fmt.Sprint(id)}
	url := c.url + one.ID
	if c.query != "" {
		url += "?" + c.query
	}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		one.Local, one.Reused = info.Conn.LocalAddr().String(), info.Reused
	}}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(ctx, c.method, url, strings.NewReader(c.body))
	if err != nil {
		one.Error = err.Error()
		return one
	}
	request.Close = c.closeAfter != 0 && c.sent.Add(1)%c.closeAfter == 0

	start := time.Now()
	response, err := c.http.Do(request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		err = errors.Join(err, response.Body.Close())
	}
	one.DurationNs = time.Since(start).Nanoseconds()
	if err != nil {
		one.Error = err.Error()
		return one
	}
	one.Status = response.StatusCode
	return one
}
