package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lib/pq"
)

// shop has a database for each way that database/sql goes.
type shop struct {
	full, skipping, plain *sql.DB
}

type form func(ctx context.Context, id string) error

func newShop() http.Handler {
	open := func(kind string) *sql.DB { return sql.OpenDB(pq.Connector{Kind: kind}) }
	s := &shop{full: open("full"), skipping: open("skipping"), plain: open("plain")}
	mux := http.NewServeMux()
	for name, run := range map[string]form{
		"query": s.query, "exec": s.exec, "tx": s.tx, "prepared": s.prepared, "skipped": s.skipped,
		"plain": s.unable, "failed": s.failed, "unprepared": s.unprepared, "canceled": s.canceled,
		"goroutine": s.goroutine, "nested": s.nested, "slow": s.slow, "panic": s.panic,
	} {
		mux.HandleFunc("/"+name+"/", handler(run))
	}
	mux.HandleFunc("/text/", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = s.full.ExecContext(r.Context(), string(text))
		}
		answer(w, err)
	})
	return mux
}

func handler(run form) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, run(r.Context(), r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]))
	}
}

// answer says that what was asked for came about; some forms want an error.
func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
	}
}

func (s *shop) query(ctx context.Context, id string) error {
	return drained(s.full.QueryContext(ctx, fmt.Sprintf("SELECT name FROM items_%s WHERE card = 'hush-%s'", id, id)))
}

func (s *shop) exec(ctx context.Context, id string) error {
	_, err := s.full.ExecContext(ctx, fmt.Sprintf("INSERT INTO orders_%s (card) VALUES ('hush-%s')", id, id))
	return err
}

// tx has a statement of each kind in it.
func (s *shop) tx(ctx context.Context, id string) error {
	tx, err := s.full.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := drained(tx.QueryContext(ctx, "SELECT n FROM stock_"+id+" WHERE hush = 4711 FOR UPDATE")); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE stock_"+id+" SET n = n - 4711"); err != nil {
		return err
	}
	return tx.Commit()
}

func (s *shop) prepared(ctx context.Context, id string) error {
	statement, err := s.full.PrepareContext(ctx, "SELECT name FROM prepared_"+id+" WHERE card = $1")
	if err != nil {
		return err
	}
	defer statement.Close()
	if err := drained(statement.QueryContext(ctx, "hush")); err != nil {
		return err
	}
	_, err = statement.ExecContext(ctx, "hush")
	return err
}

func (s *shop) skipped(ctx context.Context, id string) error {
	if err := drained(s.skipping.QueryContext(ctx, "SELECT name FROM skipped_"+id+" WHERE card = ?", "hush")); err != nil {
		return err
	}
	_, err := s.skipping.ExecContext(ctx, "DELETE FROM skipped_"+id+" WHERE card = ?", "hush")
	return err
}

func (s *shop) unable(ctx context.Context, id string) error {
	if err := drained(s.plain.QueryContext(ctx, "SELECT name FROM plain_"+id)); err != nil {
		return err
	}
	_, err := s.plain.ExecContext(ctx, "DELETE FROM plain_"+id)
	return err
}

// failed wants an error in each form that a statement can go.
func (s *shop) failed(ctx context.Context, id string) error {
	text := "SELECT name FROM missing_table, t" + id
	errs := []error{drained(s.full.QueryContext(ctx, text)), drained(s.skipping.QueryContext(ctx, text, 1))}
	_, err := s.full.ExecContext(ctx, text)
	errs = append(errs, err)
	_, err = s.skipping.ExecContext(ctx, text, 1)
	errs = append(errs, err)
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errors.Join(errs...)
}

// unprepared fails before there is a statement.
func (s *shop) unprepared(ctx context.Context, id string) error {
	_, err := s.skipping.ExecContext(ctx, "DELETE FROM unprepared_"+id+" WHERE n = ?", 1)
	return err
}

func (s *shop) canceled(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	return drained(s.full.QueryContext(ctx, "SELECT name FROM slow_table, t"+id))
}

func (s *shop) goroutine(ctx context.Context, id string) error {
	ended := make(chan error)
	go func() { ended <- s.query(ctx, id) }()
	return <-ended
}

// nested asks while the rows of another statement are open.
func (s *shop) nested(ctx context.Context, id string) error {
	rows, err := s.full.QueryContext(ctx, "SELECT name FROM outer_"+id)
	if err != nil {
		return err
	}
	defer rows.Close()
	return s.exec(ctx, id)
}

func (s *shop) slow(ctx context.Context, id string) error {
	return drained(s.full.QueryContext(ctx, "SELECT name FROM slow_table, t"+id))
}

// panic leaves a statement without an end; the next one is another.
func (s *shop) panic(ctx context.Context, id string) (err error) {
	func() {
		defer func() { _ = recover() }()
		_, _ = s.full.ExecContext(ctx, "DELETE FROM panic_table, t"+id)
	}()
	return s.exec(ctx, id)
}

func drained(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}
