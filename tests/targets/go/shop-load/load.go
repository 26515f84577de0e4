package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

type load struct {
	url    string
	client *http.Client

	mutex     sync.Mutex
	latencies histogram
	answers   map[int]uint64
	failed    uint64
	late      uint64
}

type total struct {
	Requests   uint64         `json:"requests"`
	Errors     uint64         `json:"errors"`
	Late       uint64         `json:"late"`
	Statuses   map[int]uint64 `json:"statuses"`
	P50Seconds float64        `json:"p50_seconds"`
	P99Seconds float64        `json:"p99_seconds"`
}

// run starts a request each period. One that finds all workers busy is not sent, and counted as late.
func (l *load) run(ctx context.Context, period time.Duration, workers int) {
	turns := make(chan uint64)
	var done sync.WaitGroup
	for range workers {
		done.Add(1)
		go func() {
			defer done.Done()
			for turn := range turns {
				l.visit(turn)
			}
		}()
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for turn := uint64(0); ; turn++ {
		select {
		case <-ctx.Done():
			close(turns)
			done.Wait()
			return
		case <-ticker.C:
		}
		select {
		case turns <- turn:
		default:
			l.mutex.Lock()
			l.late++
			l.mutex.Unlock()
		}
	}
}

func (l *load) visit(turn uint64) {
	path := "/"
	if turn%4 == 3 {
		path = "/checkout"
	}
	start := time.Now()
	status, err := l.get(fmt.Sprintf("%s%s?user=u%d", l.url, path, turn%100))
	took := time.Since(start)

	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.latencies.add(took)
	if err != nil {
		l.failed++
		return
	}
	if l.answers == nil {
		l.answers = map[int]uint64{}
	}
	l.answers[status]++
}

func (l *load) get(url string) (int, error) {
	response, err := l.client.Get(url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	// Only a body that was read to its end lets the connection be used again.
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func (l *load) total() total {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	sum := total{
		Requests:   l.latencies.count,
		Errors:     l.failed,
		Late:       l.late,
		Statuses:   map[int]uint64{},
		P50Seconds: l.latencies.quantile(0.50).Seconds(),
		P99Seconds: l.latencies.quantile(0.99).Seconds(),
	}
	for status, n := range l.answers {
		sum.Statuses[status] = n
		if 500 <= status {
			sum.Errors += n
		}
	}
	return sum
}

// progress prints a line each period until the returned function is called.
func (l *load) progress(period time.Duration) (stop func()) {
	ticker := time.NewTicker(period)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case <-stopped:
				return
			case <-ticker.C:
				now := l.total()
				fmt.Fprintf(os.Stderr, "shop-load: %d requests, %d errors, p50 %.1f ms, p99 %.1f ms\n",
					now.Requests, now.Errors, 1e3*now.P50Seconds, 1e3*now.P99Seconds)
			}
		}
	}()
	return func() { ticker.Stop(); close(stopped) }
}
