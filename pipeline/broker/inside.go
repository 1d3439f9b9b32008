package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inside is the broker's own connection to itself: a pipe in memory that is
// served while the door for clients is still closed.
type inside struct {
	mu   sync.Mutex // one request at a time
	conn net.Conn
	id   int32
	form *kmsg.RequestFormatter
}

func newInside(g *guard) *inside {
	near, far := net.Pipe()
	g.give(far)
	return &inside{conn: near, form: kmsg.NewRequestFormatter(kmsg.FormatterClientID("plantloom-broker"))}
}

func (in *inside) close() { in.conn.Close() }

// ask sends req in its version and returns the answer. It fails for good when
// ctx ends in the middle of a request.
func (in *inside) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { in.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	name := kmsg.NameForKey(req.Key())
	in.id++
	if _, err := in.conn.Write(in.form.AppendRequest(nil, req, in.id)); err != nil {
		return nil, fmt.Errorf("asking the broker for %s: %w", name, err)
	}
	resp, err := readResponse(in.conn, req, in.id)
	if err != nil {
		return nil, fmt.Errorf("asking the broker for %s: %w", name, errors.Join(ctx.Err(), err))
	}
	return resp, nil
}

// readResponse reads the answer to req from r.
func readResponse(r io.Reader, req kmsg.Request, id int32) (kmsg.Response, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 64<<20 {
		return nil, fmt.Errorf("answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	br := kbin.Reader{Src: body}
	if got := br.Int32(); got != id {
		return nil, fmt.Errorf("answer to request %d, asked was %d", got, id)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		kmsg.SkipTags(&br)
	}
	if err := resp.ReadFrom(br.Src); err != nil {
		return nil, err
	}
	return resp, nil
}

// versions returns every request that kfake answers.
func (in *inside) versions(ctx context.Context) (map[int16]span, error) {
	resp, err := in.ask(ctx, kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return nil, err
	}
	known := map[int16]span{}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		known[k.ApiKey] = span{min: k.MinVersion, max: k.MaxVersion}
	}
	return known, nil
}

// topics returns the names of all topics with their numbers of partitions.
func (in *inside) topics(ctx context.Context) (map[string]int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(4)
	resp, err := in.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	topics := map[string]int32{}
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.Topic != nil && t.ErrorCode == 0 {
			topics[*t.Topic] = int32(len(t.Partitions))
		}
	}
	return topics, nil
}

// offsetAt returns the offset of the first record of a partition that is at or
// after the time, or -1 when all of them are older.
func (in *inside) offsetAt(ctx context.Context, topic string, partition int32, at time.Time) (int64, error) {
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, at.UnixMilli()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(1)
	req.Topics = append(req.Topics, t)
	resp, err := in.ask(ctx, req)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			return p.Offset, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return 0, errors.New("asking the broker for an offset: empty answer")
}
