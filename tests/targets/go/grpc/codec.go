package main

import (
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// codec writes an id as decimal digits: no generated code is needed.
type codec struct{}

func (codec) Name() string { return "decimal" }

func (codec) Marshal(v interface{}) ([]byte, error) {
	id, ok := v.(*uint64)
	if !ok {
		return nil, fmt.Errorf("%T is no id", v)
	}
	return strconv.AppendUint(nil, *id, 10), nil
}

func (codec) Unmarshal(data []byte, v interface{}) error {
	id, ok := v.(*uint64)
	if !ok {
		return fmt.Errorf("%T is no id", v)
	}
	var err error
	*id, err = strconv.ParseUint(string(data), 10, 64)
	return err
}

func dial(addr string, encrypted bool) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if encrypted {
		creds = credentials.NewTLS(trusting())
	}
	return grpc.Dial(addr, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})))
}

// methodOf is the full name of the method of a call: kind and id.
func methodOf(kind string, id uint64) string {
	return "/" + service + "/" + kind + strconv.FormatUint(id, 10)
}
