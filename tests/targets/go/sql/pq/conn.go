// Package pq stands in for the driver of that name: a database in memory that answers whatever it is asked.
//
// What a connection can do decides which way database/sql goes: Full answers at once, Skipping asks to be
// prepared first when there are arguments, as MySQL's does, and Plain can do nothing but prepare.
package pq

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"time"
)

// Error is what statements that ask for it fail with.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

// Connector opens connections of one kind.
type Connector struct{ Kind string }

func (c Connector) Connect(context.Context) (driver.Conn, error) {
	base := plain{kind: c.Kind}
	switch c.Kind {
	case "full":
		return &conn{base}, nil
	case "skipping":
		return &skipping{base}, nil
	}
	return &base, nil
}

func (c Connector) Driver() driver.Driver { return unused{} }

type unused struct{}

func (unused) Open(string) (driver.Conn, error) {
	return nil, errors.New("pq: only connectors are used")
}

type plain struct{ kind string }

func (c *plain) Prepare(query string) (driver.Stmt, error) {
	if strings.Contains(query, "unprepared") {
		return nil, &Error{"asked for"}
	}
	return &stmt{query}, nil
}

func (c *plain) Close() error              { return nil }
func (c *plain) Begin() (driver.Tx, error) { return tx{}, nil }

type conn struct{ plain }

func (c *conn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	if err := run(ctx, query); err != nil {
		return nil, err
	}
	return rows{}, nil
}

func (c *conn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if err := run(ctx, query); err != nil {
		return nil, err
	}
	return driver.RowsAffected(1), nil
}

type skipping struct{ plain }

func (c *skipping) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) != 0 {
		return nil, driver.ErrSkip
	}
	return rows{}, run(ctx, query)
}

func (c *skipping) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) != 0 {
		return nil, driver.ErrSkip
	}
	return driver.RowsAffected(1), run(ctx, query)
}

type stmt struct{ query string }

func (s *stmt) Close() error  { return nil }
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) Exec([]driver.Value) (driver.Result, error) {
	if err := run(context.Background(), s.query); err != nil {
		return nil, err
	}
	return driver.RowsAffected(1), nil
}

func (s *stmt) Query([]driver.Value) (driver.Rows, error) {
	if err := run(context.Background(), s.query); err != nil {
		return nil, err
	}
	return rows{}, nil
}

// run does what a word in the statement asks for.
func run(ctx context.Context, query string) error {
	switch {
	case strings.Contains(query, "missing_table"):
		return &Error{"no such table"}
	case strings.Contains(query, "slow_table"):
		select {
		case <-time.After(30 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	case strings.Contains(query, "panic_table"):
		panic("asked for")
	}
	return nil
}

type tx struct{}

func (tx) Commit() error   { return nil }
func (tx) Rollback() error { return nil }

type rows struct{}

func (rows) Columns() []string         { return []string{"id"} }
func (rows) Close() error              { return nil }
func (rows) Next([]driver.Value) error { return io.EOF }
