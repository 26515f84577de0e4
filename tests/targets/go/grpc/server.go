package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const service = "truth.Test"

// Answers for each message of a stream.
const answers = 3

// server is what its handlers may ask in turn.
type server struct {
	behind *grpc.ClientConn
	http   string
}

func runServer(args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "where to listen")
	encrypted := flags.Bool("tls", false, "with a certificate that nobody trusts")
	workers := flags.Uint("workers", 0, "NumStreamWorkers")
	streams := flags.Uint("streams", 0, "calls that a connection takes at once; 0 is without a limit")
	age := flags.Duration("age", 0, "connections are closed after this, gracefully; 0 is never")
	overHTTP := flags.Bool("over-http", false, "serve by the HTTP/2 server of net/http, with TLS")
	methods := flags.Uint64("methods", 5000, "ids from 0 that there are methods for")
	to := flags.String("to", "", "a gRPC server behind, for F methods and the front")
	url := flags.String("http", "", "an HTTP server behind, for H methods; the id is appended")
	front := flags.Bool("front", false, "be an HTTP server that asks the gRPC server behind")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := &server{http: *url}
	if *to != "" {
		behind, err := dial(*to, false)
		if err != nil {
			return err
		}
		s.behind = behind
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Printf("ready\nlistening %s\n", listener.Addr())
	if *front {
		return http.Serve(listener, http.HandlerFunc(s.front))
	}
	config, err := selfSigned()
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{
		grpc.ForceServerCodec(codec{}),
		grpc.NumStreamWorkers(uint32(*workers)),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: *age, MaxConnectionAgeGrace: time.Minute}),
	}
	if *streams != 0 {
		options = append(options, grpc.MaxConcurrentStreams(uint32(*streams)))
	}
	if *encrypted {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	g := grpc.NewServer(options...)
	g.RegisterService(s.describe(*methods), struct{}{})
	if *overHTTP {
		over := &http.Server{Handler: g, TLSConfig: config}
		return over.ServeTLS(listener, "", "")
	}
	return g.Serve(listener)
}

// describe has a method of each kind for each id.
func (s *server) describe(methods uint64) *grpc.ServiceDesc {
	unaries := map[string]func(context.Context, uint64) error{
		"U": func(context.Context, uint64) error { return nil },
		"E": func(_ context.Context, id uint64) error { return status.Error(codes.Code(id%17), "as asked") },
		"D": func(ctx context.Context, _ uint64) error { <-ctx.Done(); return ctx.Err() },
		"F": func(ctx context.Context, id uint64) error { return s.forward(ctx, id) },
		"H": func(_ context.Context, id uint64) error { return s.ask(id) },
	}
	streams := []grpc.StreamDesc{
		{StreamName: "C", ClientStreams: true, Handler: collect},
		{StreamName: "S", ServerStreams: true, Handler: answer},
		{StreamName: "B", ClientStreams: true, ServerStreams: true, Handler: converse},
	}
	all := &grpc.ServiceDesc{ServiceName: service, HandlerType: (*interface{})(nil)}
	for id := uint64(0); id < methods; id++ {
		for kind, handle := range unaries {
			handler := unary(id, handle)
			all.Methods = append(all.Methods, grpc.MethodDesc{MethodName: kind + strconv.FormatUint(id, 10), Handler: handler})
		}
		for _, stream := range streams {
			stream.StreamName += strconv.FormatUint(id, 10)
			all.Streams = append(all.Streams, stream)
		}
	}
	return all
}

type unaryHandler = func(interface{}, context.Context, func(interface{}) error, grpc.UnaryServerInterceptor) (interface{}, error)

// unary answers with the id that was sent, which must be that of the method.
func unary(id uint64, handle func(context.Context, uint64) error) unaryHandler {
	return func(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		var sent uint64
		if err := decode(&sent); err != nil {
			return nil, err
		}
		if sent != id {
			return nil, status.Errorf(codes.DataLoss, "%d came to the method of %d", sent, id)
		}
		return &sent, handle(ctx, id)
	}
}

func (s *server) forward(ctx context.Context, id uint64) error {
	var got uint64
	return s.behind.Invoke(ctx, methodOf("U", id), &id, &got)
}

func (s *server) ask(id uint64) error {
	response, err := http.Get(s.http + strconv.FormatUint(id, 10))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

func (s *server) front(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(path.Base(r.URL.Path), 10, 64)
	if err == nil {
		err = s.forward(r.Context(), id)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

// collect answers once, with the last id.
func collect(_ interface{}, stream grpc.ServerStream) error {
	var id uint64
	for {
		if err := stream.RecvMsg(&id); errors.Is(err, io.EOF) {
			return stream.SendMsg(&id)
		} else if err != nil {
			return err
		}
	}
}

// answer answers the one message some times.
func answer(_ interface{}, stream grpc.ServerStream) error {
	var id uint64
	if err := stream.RecvMsg(&id); err != nil {
		return err
	}
	for n := 0; n < answers; n++ {
		if err := stream.SendMsg(&id); err != nil {
			return err
		}
	}
	return nil
}

// converse answers each message some times.
func converse(impl interface{}, stream grpc.ServerStream) error {
	for {
		if err := answer(impl, stream); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
