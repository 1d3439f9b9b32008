package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uacp"
)

const (
	// receiveBuffer and sendBuffer are the chunk sizes that we offer (Part 6 7.1.2.3: at least 8192).
	receiveBuffer = 65535
	sendBuffer    = 65535
	minBuffer     = 8192
	// maxPartialChunks bounds the chunks of one answer, however small they are.
	maxPartialChunks = 1 << 14
	chunkHead        = 12 // type, flag, size, channel id
)

// greet exchanges Hello and Acknowledge. The limits that we announce are ours; the server's limit our requests only.
func (c *Channel) greet() error {
	body, err := (&uacp.Hello{
		ReceiveBufSize: receiveBuffer, SendBufSize: sendBuffer,
		MaxMessageSize: uint32(c.cfg.MaxMessageSize), EndpointURL: c.cfg.EndpointURL,
	}).Encode()
	if err != nil {
		return err
	}
	msg := append([]byte("HELF\x00\x00\x00\x00"), body...)
	binary.LittleEndian.PutUint32(msg[4:], uint32(len(msg)))
	if _, err := c.conn.Write(msg); err != nil {
		return err
	}
	chunk, err := c.chunk()
	if err != nil {
		return err
	}
	if string(chunk[:3]) != "ACK" {
		return fmt.Errorf("unexpected %q as the first answer; is this an OPC UA server?", chunk[:3])
	}
	var ack uacp.Acknowledge
	if _, err := ack.Decode(chunk[8:]); err != nil {
		return fmt.Errorf("decoding the acknowledgement: %w", err)
	}
	if ack.ReceiveBufSize < minBuffer {
		return fmt.Errorf("the server's receive buffer of %d bytes is smaller than OPC UA allows", ack.ReceiveBufSize)
	}
	c.chunkSize = int(min(sendBuffer, ack.ReceiveBufSize))
	c.maxSend, c.maxChunks = int(ack.MaxMessageSize), int(ack.MaxChunkCount)
	return nil
}

// chunk reads the next chunk. An error message of the server is returned as its status code.
func (c *Channel) chunk() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(head[4:])
	if size < 8 || size > receiveBuffer {
		return nil, fmt.Errorf("a chunk of %d bytes: %w", size, ua.StatusBadTCPMessageTooLarge)
	}
	b := make([]byte, size)
	copy(b, head[:])
	if _, err := io.ReadFull(c.in, b[8:]); err != nil {
		return nil, err
	}
	if string(b[:3]) != "ERR" {
		return b, nil
	}
	d := Decoder{b: b, i: 8}
	code, reason := ua.StatusCode(d.u32()), d.text()
	if reason != "" && d.err == nil {
		return nil, fmt.Errorf("the server says %q: %w", reason, code)
	}
	return nil, code
}

// read takes chunks until the connection ends. It runs in a goroutine of its own.
func (c *Channel) read() {
	defer func() {
		if p := recover(); p != nil { // whatever a server sends must not end the process
			c.fail(fmt.Errorf("decoding a message: %v: %w", p, ua.StatusBadDecodingError))
		}
	}()
	for {
		b, err := c.chunk()
		if err == nil {
			err = c.take(b)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the server closed the connection: %w", err)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// take verifies one chunk and passes a message on when it is complete.
func (c *Channel) take(b []byte) error {
	if len(b) < chunkHead+4 {
		return ua.StatusBadTCPMessageTypeInvalid
	}
	kind, flag := string(b[:3]), b[3]
	var plain []byte
	var err error
	switch kind {
	case "OPN":
		plain, err = c.unsealOpen(b)
	case "MSG":
		plain, err = c.unsealMessage(b)
	case "CLO":
		return io.EOF
	default:
		err = fmt.Errorf("message type %q: %w", kind, ua.StatusBadTCPMessageTypeInvalid)
	}
	if err != nil {
		return err
	}
	if len(plain) < 8 {
		return ua.StatusBadDecodingError
	}
	if err := c.checkSequence(binary.LittleEndian.Uint32(plain)); err != nil {
		return err
	}
	id, data := binary.LittleEndian.Uint32(plain[4:]), plain[8:]
	if kind == "OPN" {
		return c.opened(id, data)
	}
	return c.assemble(id, flag, data)
}

// checkSequence refuses replayed, skipped and reordered chunks (Part 6 6.7.2.4: plus one, with a wrap near the end).
func (c *Channel) checkSequence(n uint32) error {
	const wrapZone = 1024
	wrapped := c.received > ^uint32(0)-wrapZone && n < wrapZone
	if c.started && n != c.received+1 && !wrapped {
		return fmt.Errorf("chunk %d came after %d: %w", n, c.received, ua.StatusBadSequenceNumberInvalid)
	}
	c.received, c.started = n, true
	return nil
}

// assemble joins the chunks of one answer. Chunks of requests that nobody waits for are dropped.
func (c *Channel) assemble(id uint32, flag byte, data []byte) error {
	c.mu.Lock()
	_, wanted := c.pending[id]
	c.mu.Unlock()
	if !wanted {
		delete(c.partial, id)
		return nil
	}
	switch p := c.partial[id]; flag {
	case 'C':
		if p == nil {
			p = &partial{}
			c.partial[id] = p
		}
		p.data, p.chunks = append(p.data, data...), p.chunks+1
		if len(p.data) > c.cfg.MaxMessageSize || p.chunks > maxPartialChunks {
			c.tooLarge(id)
		}
		return nil
	case 'F':
		if p != nil {
			data = append(p.data, data...)
		}
		delete(c.partial, id)
		if len(data) > c.cfg.MaxMessageSize {
			c.tooLarge(id)
			return nil
		}
		c.answer(Reply{ID: id, raw: data})
		return nil
	case 'A':
		delete(c.partial, id)
		d := Decoder{b: data}
		code := ua.StatusCode(d.u32())
		if d.err != nil {
			return d.err
		}
		c.answer(Reply{ID: id, Err: code})
		return nil
	}
	return fmt.Errorf("chunk flag %q: %w", flag, ua.StatusBadTCPMessageTypeInvalid)
}

// tooLarge gives up on one answer; its further chunks are then dropped, and the channel goes on.
func (c *Channel) tooLarge(id uint32) {
	delete(c.partial, id)
	c.answer(Reply{ID: id, Err: fmt.Errorf("an answer of more than %d bytes: %w", c.cfg.MaxMessageSize, ua.StatusBadResponseTooLarge)})
}

func (c *Channel) answer(r Reply) {
	c.mu.Lock()
	out := c.pending[r.ID]
	delete(c.pending, r.ID)
	c.mu.Unlock()
	if out != nil {
		deliver(out, r)
	}
}

// send cuts a message into chunks and writes them. out, when given, is registered for the reply before that.
func (c *Channel) send(ctx context.Context, kind string, id uint32, body []byte, out chan<- Reply) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	tok := c.sendToken
	if tok == nil {
		return ua.StatusBadSecureChannelClosed
	}
	room := tok.room(c.chunkSize)
	count := max(1, (len(body)+room-1)/room)
	if c.maxSend > 0 && len(body) > c.maxSend || c.maxChunks > 0 && count > c.maxChunks {
		return fmt.Errorf("a request of %d bytes in %d chunks: %w", len(body), count, ua.StatusBadRequestTooLarge)
	}
	if err := c.register(id, out); err != nil {
		return err
	}
	for n := range count {
		flag := byte('C')
		if n == count-1 {
			flag = 'F'
		}
		part := body[n*room : min(len(body), (n+1)*room)]
		chunk, err := tok.seal(kind, flag, c.sequenceHead(id), part)
		if err != nil {
			err = fmt.Errorf("securing a message: %w", err)
			c.fail(err)
			return err
		}
		if err := c.write(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (c *Channel) register(id uint32, out chan<- Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if out != nil {
		c.pending[id] = out
	}
	return nil
}

// write hands one chunk to the network. A connection that does not take it in time is ended: half a chunk cannot be
// taken back.
func (c *Channel) write(ctx context.Context, chunk []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.CallTimeout, ua.StatusBadTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.fail(fmt.Errorf("the network took nothing: %w", context.Cause(ctx))) })
	defer stop()
	if _, err := c.conn.Write(chunk); err != nil {
		c.fail(fmt.Errorf("sending: %w", err))
		return c.Err()
	}
	return nil
}

// sequenceHead is the sequence header of the next chunk. The caller may send.
func (c *Channel) sequenceHead(id uint32) []byte {
	c.sequence++
	if c.sequence > ^uint32(0)-1024 {
		c.sequence = 1
	}
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, c.sequence), id)
}

// encode puts the type id in front of the request's binary form.
func encode(req ua.Request) ([]byte, error) {
	id := ua.ServiceTypeID(req)
	body, err := ua.Encode(req)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", req, err)
	}
	return append([]byte{1, 0, byte(id), byte(id >> 8)}, body...), nil
}
