package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	redisTimeout = 2 * time.Second
	maxBulkBytes = 1 << 20
)

type conn struct {
	net.Conn
	reader *bufio.Reader
}

// pool keeps connections to one Redis server; a connection that failed is not used again.
type pool struct {
	addr string
	idle chan *conn
}

func newPool(addr string, conns int) *pool {
	return &pool{addr: addr, idle: make(chan *conn, conns)}
}

// do sends one command. A nil answer is Redis's null.
func (p *pool) do(words ...string) ([]byte, error) {
	conn, err := p.take()
	if err != nil {
		return nil, err
	}
	answer, err := conn.do(words)
	var refused serverError
	if err != nil && !errors.As(err, &refused) {
		return nil, errors.Join(err, conn.Close())
	}
	select {
	case p.idle <- conn:
		return answer, err
	default:
		return answer, errors.Join(err, conn.Close())
	}
}

func (p *pool) take() (*conn, error) {
	select {
	case kept := <-p.idle:
		return kept, nil
	default:
	}
	dialed, err := net.DialTimeout("tcp", p.addr, redisTimeout)
	if err != nil {
		return nil, err
	}
	return &conn{dialed, bufio.NewReader(dialed)}, nil
}

// serverError is an answer like any other: the connection stays good.
type serverError string

func (e serverError) Error() string { return "Redis says: " + string(e) }

func (c *conn) do(words []string) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(redisTimeout)); err != nil {
		return nil, err
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c, command.String()); err != nil {
		return nil, err
	}
	return readReply(c.reader)
}

func readReply(reader *bufio.Reader) ([]byte, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return nil, errors.New("an empty line from Redis")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', ':':
		return []byte(rest), nil
	case '-':
		return nil, serverError(rest)
	case '$':
		return readBulk(reader, rest)
	default:
		return nil, fmt.Errorf("Redis sent %q, which is no answer to these commands", line)
	}
}

func readBulk(reader *bufio.Reader, length string) ([]byte, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || maxBulkBytes < n {
		return nil, fmt.Errorf("Redis sent a string of %q bytes", length)
	}
	if n == -1 {
		return nil, nil
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(reader, text); err != nil {
		return nil, err
	}
	return text[:n], nil
}
