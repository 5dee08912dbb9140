// Program probe is the client and server of the cluster tests in one static file.
//
// The images need it because busybox-static crashes in name look-ups (a static glibc cannot load its resolver modules).
//
//	probe serve :8080            answer every HTTP request with the host name, the caller's address and the path
//	probe get URL...             fetch each URL without keep-alive; print status, milliseconds, body; exit 1 on the first failure
//	probe lookup NAME            print the addresses of a name, one per line, sorted
//	probe connect HOST:PORT      exit 0 if a TCP connection can be made
//	probe wait                   do nothing until a signal comes
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"syscall"
	"time"
)

const timeout = 5 * time.Second

func main() {
	if len(os.Args) < 2 {
		fail("usage: probe serve|get|lookup|connect|wait [ARGUMENT...]")
	}
	switch verb, rest := os.Args[1], os.Args[2:]; verb {
	case "serve":
		serve(rest)
	case "get":
		get(rest)
	case "lookup":
		lookup(rest)
	case "connect":
		connect(rest)
	case "wait":
		wait()
	default:
		fail("probe: no such verb: " + verb)
	}
}

func fail(message any) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}

func serve(addresses []string) {
	name, _ := os.Hostname()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from %s %s\n", name, r.RemoteAddr, r.URL.Path)
	})
	for _, address := range addresses {
		go func() { fail(http.ListenAndServe(address, handler)) }()
	}
	wait()
}

func get(urls []string) {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, url := range urls {
		begun := time.Now()
		response, err := client.Get(url)
		if err != nil {
			fail(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			fail(err)
		}
		fmt.Printf("%d %.1fms %s\n", response.StatusCode, float64(time.Since(begun).Microseconds())/1000, body)
	}
}

func lookup(names []string) {
	for _, name := range names {
		addresses, err := net.LookupHost(name)
		if err != nil {
			fail(err)
		}
		sort.Strings(addresses)
		for _, address := range addresses {
			fmt.Println(address)
		}
	}
}

func connect(targets []string) {
	for _, target := range targets {
		connection, err := net.DialTimeout("tcp", target, timeout)
		if err != nil {
			fail(err)
		}
		connection.Close()
	}
}

func wait() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	<-signals
}
