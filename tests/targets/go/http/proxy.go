package main

import (
	"context"
	"flag"
	"io"
	"net/http"
	"strings"

	"taskscope.test/serve"
)

// runProxy forwards each path to the backend. Under /bg/ the call is made by a goroutine of its own with a
// context that knows nothing of the request: only the creator of the goroutine joins the two.
func runProxy(args []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:8081", "address to serve on")
	useHTTP2 := flags.Bool("http2", false, "speak HTTP/2 only, on both sides")
	to := flags.String("to", "http://127.0.0.1:8080", "URL of the backend")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
		Protocols:           protocols(*useHTTP2),
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		forward(r.Context(), client, w, r.Method, *to+r.URL.RequestURI(), r.Body)
	})
	mux.HandleFunc("/bg/", func(w http.ResponseWriter, r *http.Request) {
		url := *to + strings.TrimPrefix(r.URL.RequestURI(), "/bg")
		done := make(chan struct{})
		go func() {
			defer close(done)
			forward(context.Background(), client, w, r.Method, url, r.Body)
		}()
		<-done
	})
	return serve.Until(&http.Server{Handler: mux, Protocols: protocols(*useHTTP2)}, *listen)
}

func forward(ctx context.Context, client *http.Client, w http.ResponseWriter, method, url string, body io.Reader) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	// A half answer is seen by the client as such.
	_, _ = io.Copy(w, response.Body)
}
