package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestGuardCutsWhatIsNotAKafkaRequest(t *testing.T) {
	t.Parallel()
	var lines logBuffer
	cfg := testConfig(t.TempDir())
	cfg.Log = slog.New(slog.NewTextHandler(&lines, nil))
	b := startBroker(t, cfg)
	createTopic(t, b.Addr(), "t", 1)
	frame := func(size uint32, key, version int16) []byte {
		p := binary.BigEndian.AppendUint32(nil, size)
		p = binary.BigEndian.AppendUint16(p, uint16(key))
		p = binary.BigEndian.AppendUint16(p, uint16(version))
		return append(p, make([]byte, 10)...)
	}
	for name, send := range map[string][]byte{
		"an HTTP request":                 []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a TLS hello":                     {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
		"an unknown api key":              frame(14, 9999, 0),
		"a negative api key":              frame(14, -1, 0),
		"a frame of 4 GB":                 frame(0xffffffff, 18, 0),
		"a frame above the limit":         frame(uint32(cfg.MaxFrame)+1, 0, 9),
		"a frame too small for a header":  frame(4, 18, 0),
		"a frame of no bytes":             frame(0, 18, 0),
		"a version above the range":       frame(14, 3, 99),
		"a negative version":              frame(14, 18, -2),
		"a produce by topic ids":          frame(14, 0, 13),
		"a produce of the oldest version": frame(14, 0, 0),
		"a broken DeleteRecords":          append(frame(14, 21, 2), 0xff, 0xff, 0xff, 0xff),
	} {
		conn, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(send); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		var timeout net.Error
		if n, err := conn.Read(make([]byte, 16)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the connection stays open: read %d bytes, %v", name, n, err)
		}
		if peer := "peer=" + conn.LocalAddr().String(); !lines.contains(peer) {
			t.Errorf("%s: no line in the log has %s", name, peer)
		}
		produce(t, client(t, b.Addr()), "t", name)
	}
}

// The records of one produce request can name the same topic twice, or topics
// that do not exist: both ended kfake's process in some version of the request.
func TestProduceWithOddTopicsDoesNotEndTheBroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t, testConfig(t.TempDir()))
	createTopic(t, b.Addr(), "t", 1)
	for _, acks := range []int16{-1, 7} {
		for version := b.guard.known[0].min; version <= b.guard.known[0].max; version++ {
			req := kmsg.NewPtrProduceRequest()
			req.SetVersion(version)
			req.Acks = acks
			for _, topic := range []string{"t", "t", "gone", "away", "gone"} {
				rt := kmsg.NewProduceRequestTopic()
				rt.Topic = topic
				rt.Partitions = append(rt.Partitions, kmsg.NewProduceRequestTopicPartition(), kmsg.NewProduceRequestTopicPartition())
				req.Topics = append(req.Topics, rt)
			}
			conn, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
				t.Fatal(err)
			}
			if _, err := readResponse(conn, req, 1); err != nil {
				t.Errorf("version %d, acks %d: %v", version, acks, err)
			}
		}
	}
	produce(t, client(t, b.Addr()), "t", "still here")
}

func TestFramesPassTheGuardInAnyPieces(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	g := &guard{log: slog.New(slog.DiscardHandler), max: 1 << 20, known: map[int16]span{3: {0, 12}, 18: {0, 3}}}
	form := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))
	var sent []byte
	for i := range int32(5) {
		sent = form.AppendRequest(sent, kmsg.NewPtrMetadataRequest(), i)
		sent = form.AppendRequest(sent, kmsg.NewPtrApiVersionsRequest(), i)
	}
	go func() {
		defer near.Close()
		for p := sent; len(p) > 0; p = p[min(3, len(p)):] {
			if _, err := near.Write(p[:min(3, len(p))]); err != nil {
				return
			}
		}
	}()
	got, err := io.ReadAll(&guarded{Conn: far, g: g})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("bytes differ (-sent +got):\n%s", diff)
	}
}

func TestDeleteRecordsIsPassedOnWithItsOffsetsChanged(t *testing.T) {
	t.Parallel()
	for version := range int16(3) {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.SetVersion(version)
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = "t"
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = 3, 77
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 9)

		got, err := rewriteDelete(frame, version, func(r *kmsg.DeleteRecordsRequest) { r.Topics[0].Partitions[0].Offset = 5 })
		if err != nil {
			t.Fatal(err)
		}
		req.Topics[0].Partitions[0].Offset = 5
		want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, 9)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", version, diff)
		}
	}
}

func TestBrokerNeverCreatesATopicByItself(t *testing.T) {
	t.Parallel()
	b := startBroker(t, testConfig(t.TempDir()))
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("nobody-made-this")
	req.Topics = append(req.Topics, topic)
	req.AllowAutoTopicCreation = true
	resp, err := req.RequestWith(t.Context(), client(t, b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.Topics[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("error code %d (%v), want unknown topic", code, kerr.ErrorForCode(code))
	}
}

func FuzzGuardNeverPassesAnUnknownFrame(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 14, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 14, 0, 21, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		g := &guard{
			log: slog.New(slog.DiscardHandler), max: 64, known: map[int16]span{18: {0, 3}, 21: {0, 2}},
			clamp: func(*kmsg.DeleteRecordsRequest) {},
		}
		go func() {
			near.Write(data)
			near.Close()
		}()
		out, _ := io.ReadAll(&guarded{Conn: far, g: g})
		r := kbin.Reader{Src: out}
		for len(r.Src) >= prefix {
			size := r.Int32()
			peek := kbin.Reader{Src: r.Src}
			if key := peek.Int16(); size < minFrame || key != 18 && key != 21 {
				t.Fatalf("a frame of %d bytes with key %d came through", size, key)
			}
			r.Span(min(int(size), len(r.Src)))
		}
	})
}
