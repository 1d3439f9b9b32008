package kafka_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/pipeline/kafka"
)

func TestPingSaysInWordsWhatIsWrong(t *testing.T) {
	t.Parallel()
	http := speak(t, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
	mute := speak(t, "")
	for name, tc := range map[string]struct{ addr, want string }{
		"nothing listens":        {fmt.Sprintf("127.0.0.1:%d", freePort(t)), "nothing listens there"},
		"a web server":           {http, "it speaks HTTP"},
		"a peer that hangs up":   {mute, "the peer closed the connection"},
		"a name that is no name": {"no-such-host.invalid:9092", "cannot be resolved"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := kafka.Open(kafka.Config{Brokers: []string{tc.addr}, Namespace: "ns", Partitions: 1, Now: newClock().Now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			err = c.Ping(within(t, 10*time.Second))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	k := cluster(t)
	c := open(t, k, false, nil)
	if err := c.Ping(within(t, 10*time.Second)); err != nil {
		t.Errorf("a broker that works: %v", err)
	}
}

// speak starts a server that answers the first bytes of any connection with answer and hangs up.
func speak(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024)) // whatever was asked
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}
