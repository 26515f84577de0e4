package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
)

// handled is what the server knows of one request. Status 0 is an answer the handler did not write itself:
// a panic, a hijacked connection.
type handled struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Remote string `json:"remote"`
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(answer []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(answer)
}

func logged(next http.Handler) http.Handler {
	var mutex sync.Mutex
	lines := json.NewEncoder(os.Stdout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &statusWriter{ResponseWriter: w}
		returned := false
		defer func() {
			if returned && recorder.status == 0 && !strings.HasPrefix(r.URL.Path, "/hijack/") {
				recorder.status = http.StatusOK // net/http answers for a handler that wrote nothing
			}
			mutex.Lock()
			defer mutex.Unlock()
			// With stdout gone there is nobody left to tell.
			_ = lines.Encode(handled{idOf(r.URL.Path), r.Method, r.URL.Path, recorder.status, r.RemoteAddr})
		}()
		next.ServeHTTP(recorder, r)
		returned = true
	})
}

func idOf(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}
