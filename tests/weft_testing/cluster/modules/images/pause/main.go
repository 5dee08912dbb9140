// Program pause holds the namespaces of a pod: it waits for a signal to end and reaps whatever is left to it meanwhile.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for {
		// Reaping before waiting catches children that ended before the handler was there.
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
		}
		if <-signals != syscall.SIGCHLD {
			return
		}
	}
}
