package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

type sum struct {
	Calls  uint64            `json:"calls"`
	Codes  map[string]uint64 `json:"codes"`
	Wrong  uint64            `json:"wrong"`
	Micros float64           `json:"micros_per_call"`
}

type client struct {
	conns   []*grpc.ClientConn
	kind    string
	cancel  bool
	timeout time.Duration

	mutex sync.Mutex
	sum   sum
}

func runClient(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	to := flags.String("to", "127.0.0.1:50051", "the server")
	kind := flags.String("kind", "U", "what the names of methods begin with: U, E, D, F, H, C, S or B")
	n := flags.Uint64("n", 1000, "calls")
	workers := flags.Int("c", 1, "calls under way at once")
	conns := flags.Int("conns", 1, "connections")
	base := flags.Uint64("base", 1, "the first id")
	pause := flags.Duration("pause", 0, "between two calls of a worker")
	cancel := flags.Bool("cancel", false, "cancel each stream after its second answer")
	timeout := flags.Duration("timeout", 0, "of each call; 0 is none")
	encrypted := flags.Bool("tls", false, "with TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *workers <= 0 || *conns <= 0 {
		return errors.New("-c and -conns are above 0")
	}
	c := &client{kind: *kind, cancel: *cancel, timeout: *timeout, sum: sum{Codes: map[string]uint64{}}}
	for n := 0; n < *conns; n++ {
		conn, err := dial(*to, *encrypted)
		if err != nil {
			return err
		}
		defer conn.Close()
		c.conns = append(c.conns, conn)
	}
	return c.run(*base, *n, *workers, *pause)
}

func (c *client) run(base, n uint64, workers int, pause time.Duration) error {
	ids := make(chan uint64)
	var done sync.WaitGroup
	start := time.Now()
	for n := 0; n < workers; n++ {
		conn := c.conns[n%len(c.conns)]
		done.Add(1)
		go func() {
			defer done.Done()
			for id := range ids {
				got, err := c.one(conn, id)
				c.report(got == id, err)
				time.Sleep(pause)
			}
		}()
	}
	for k := uint64(0); k < n; k++ {
		ids <- base + k
	}
	close(ids)
	done.Wait()
	c.sum.Micros = float64(time.Since(start).Microseconds()) / float64(n)
	return json.NewEncoder(os.Stdout).Encode(c.sum)
}

func (c *client) report(isRight bool, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.sum.Calls == 0 {
		fmt.Println(`{"first":true}`)
	}
	c.sum.Calls++
	c.sum.Codes[status.Code(err).String()]++
	if err == nil && !isRight {
		c.sum.Wrong++
	}
}

// one returns the id that came back.
func (c *client) one(conn *grpc.ClientConn, id uint64) (uint64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if c.timeout != 0 {
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	method := methodOf(c.kind, id)
	var got uint64
	desc := &grpc.StreamDesc{ClientStreams: c.kind != "S", ServerStreams: c.kind != "C"}
	var err error
	switch c.kind {
	case "C", "S", "B":
		err = c.stream(ctx, conn, method, desc, id, &got, cancel)
	default:
		err = conn.Invoke(ctx, method, &id, &got)
	}
	return got, err
}

func (c *client) stream(ctx context.Context, conn *grpc.ClientConn, method string, desc *grpc.StreamDesc, id uint64, got *uint64, cancel func()) error {
	stream, err := conn.NewStream(ctx, desc, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&id); err != nil {
		return err
	}
	if !c.cancel {
		if err := stream.CloseSend(); err != nil {
			return err
		}
	}
	for n := 1; ; n++ {
		if err := stream.RecvMsg(got); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if c.cancel && n == 2 {
			cancel()
		}
	}
}
