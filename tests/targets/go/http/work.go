package main

import (
	"encoding/json"
	"fmt"
)

type parcel struct {
	Name    string         `json:"name"`
	Numbers []int          `json:"numbers"`
	Labels  map[string]int `json:"labels"`
}

// work is a fixed count of rounds, not a time: a bench compares the CPU that the same work takes.
func work(rounds int) {
	for n := range rounds {
		text, err := json.Marshal(parcel{
			Name:    "round",
			Numbers: []int{n, 2 * n, 3 * n},
			Labels:  map[string]int{"a": n},
		})
		if err == nil {
			var back parcel
			err = json.Unmarshal(text, &back)
		}
		if err != nil {
			panic(fmt.Sprintf("a parcel is JSON: %v", err))
		}
	}
}
