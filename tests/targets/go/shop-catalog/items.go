package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const keyPrefix = "shop:item:"

var (
	errNoSuchItem = errors.New("there is no such item")

	names = []string{"kettle", "lamp", "mug", "notebook", "pencil", "scarf", "teapot", "umbrella"}
)

type item struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

type items struct {
	redis *pool
}

// stockWithin writes all items, and waits for a Redis that is still starting.
func (i *items) stockWithin(limit time.Duration) error {
	start := time.Now()
	for {
		err := i.stock()
		if err == nil || limit < time.Since(start) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (i *items) stock() error {
	for n, name := range names {
		id := strconv.Itoa(n)
		text, err := json.Marshal(item{ID: id, Name: name, Cents: 300 + 175*n})
		if err != nil {
			return err
		}
		if _, err := i.redis.do("SET", keyPrefix+id, string(text)); err != nil {
			return err
		}
	}
	return nil
}

func (i *items) all() ([]item, error) {
	found := make([]item, 0, len(names))
	for n := range names {
		one, err := i.one(strconv.Itoa(n))
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func (i *items) one(id string) (found item, err error) {
	text, err := i.redis.do("GET", keyPrefix+id)
	if err != nil {
		return found, err
	}
	if text == nil {
		return found, fmt.Errorf("%w: %q", errNoSuchItem, id)
	}
	return found, json.Unmarshal(text, &found)
}
