package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// runHTTP2 has all callers on one connection, which is there before it says `ready`.
func runHTTP2() error {
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	callers, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	url, err := serveTLS()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	if err := get(client, url+"/first"); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	fmt.Println(ask(client, url, n, callers))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func serveTLS() (string, error) {
	certificate, err := selfSigned()
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				w.WriteHeader(http.StatusHTTPVersionNotSupported)
			}
			_, _ = io.WriteString(w, r.URL.Path)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	go server.ServeTLS(listener, "", "")
	return "https://" + listener.Addr().String(), nil
}

// ask returns how many requests failed.
func ask(client *http.Client, url string, n, callers int) int64 {
	var next, failed atomic.Int64
	var done sync.WaitGroup
	for i := 0; i < callers; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			for id := next.Add(1); id <= int64(n); id = next.Add(1) {
				if err := get(client, fmt.Sprintf("%s/echo/%d", url, id)); err != nil {
					failed.Add(1)
				}
			}
		}()
	}
	done.Wait()
	return failed.Load()
}

func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}, err
}
