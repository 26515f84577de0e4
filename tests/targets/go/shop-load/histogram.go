package main

import (
	"math"
	"time"
)

const (
	// Each bucket is 2 % wider than the one before; the last one ends above a minute.
	growth  = 1.02
	buckets = 1300
)

// histogram keeps latencies in a fixed size, however long the load lasts.
type histogram struct {
	counts [buckets]uint64
	count  uint64
}

func (h *histogram) add(took time.Duration) {
	bucket := int(math.Log(max(float64(took), 1)) / math.Log(growth))
	h.counts[min(bucket, buckets-1)]++
	h.count++
}

// quantile is 0 as long as nothing was added.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.count)))
	var below uint64
	for bucket, n := range h.counts {
		below += n
		if rank <= below && n != 0 {
			return time.Duration(math.Pow(growth, float64(bucket)+0.5))
		}
	}
	return 0
}
