package wire

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// opening is an exchange of keys under way.
type opening struct {
	request uint32
	nonce   []byte
	algo    *uapolicy.EncryptionAlgorithm
	result  chan opened // room for one
}

type opened struct {
	token *token
	life  time.Duration
	err   error
}

func (c *Channel) secured() bool { return c.cfg.PolicyURI != ua.SecurityPolicyURINone }

// Asymmetric returns the policy's algorithms between our key and a server's certificate: its signatures are ours and
// its encryption is for the server.
func Asymmetric(policy string, key *rsa.PrivateKey, peerCert []byte) (*uapolicy.EncryptionAlgorithm, error) {
	if policy == ua.SecurityPolicyURINone {
		return uapolicy.Asymmetric(policy, nil, nil)
	}
	peer, err := leaf(peerCert)
	if err != nil {
		return nil, err
	}
	pub, ok := peer.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the server's key is %T, only RSA works here: %w", peer.PublicKey, ua.StatusBadCertificateInvalid)
	}
	return uapolicy.Asymmetric(policy, key, pub)
}

// leaf returns the first certificate of a chain.
func leaf(der []byte) (*x509.Certificate, error) {
	certs, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, fmt.Errorf("reading the server's certificate: %w", err)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("the server sent no certificate: %w", ua.StatusBadCertificateInvalid)
	}
	return certs[0], nil
}

// open exchanges keys and returns how long they are good for. Nothing else is sent meanwhile.
func (c *Channel) open(ctx context.Context, kind ua.SecurityTokenRequestType) (time.Duration, error) {
	algo, err := Asymmetric(c.cfg.PolicyURI, c.cfg.Key, c.cfg.PeerCert)
	if err != nil {
		return 0, err
	}
	o := &opening{request: c.nextRequest(), algo: algo, result: make(chan opened, 1)}
	if o.nonce, err = algo.MakeNonce(); err != nil {
		return 0, err
	}
	req := &ua.OpenSecureChannelRequest{
		RequestHeader: c.header(nil, o.request, c.cfg.CallTimeout), RequestType: kind, SecurityMode: c.cfg.Mode,
		ClientNonce: o.nonce, RequestedLifetime: uint32(c.cfg.Lifetime / time.Millisecond),
	}
	body, err := encode(req)
	if err != nil {
		return 0, err
	}
	if err := c.acquire(ctx); err != nil {
		return 0, err
	}
	defer c.release()
	c.mu.Lock()
	c.opening = o
	c.mu.Unlock()
	if err := c.sendOpen(ctx, o, body); err != nil {
		return 0, err
	}
	select {
	case r := <-o.result:
		if r.err == nil {
			c.sendToken = r.token
		}
		return r.life, r.err
	case <-c.done:
		return 0, c.Err()
	case <-ctx.Done():
		return 0, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

func (c *Channel) sendOpen(ctx context.Context, o *opening, body []byte) error {
	head := []byte("OPNF\x00\x00\x00\x00")
	channel := uint32(0)
	if c.sendToken != nil {
		channel = c.sendToken.channel
	}
	head = binary.LittleEndian.AppendUint32(head, channel)
	head = appendBytes(head, []byte(c.cfg.PolicyURI))
	if c.secured() {
		peer, err := leaf(c.cfg.PeerCert)
		if err != nil {
			return err
		}
		thumb := sha1.Sum(peer.Raw)
		head = appendBytes(appendBytes(head, c.cfg.Certificate), thumb[:])
	} else {
		head = appendBytes(appendBytes(head, nil), nil)
	}
	chunk, err := seal(o.algo, c.secured(), c.secured(), head, append(c.sequenceHead(o.request), body...))
	if err != nil {
		return fmt.Errorf("securing the request: %w", err)
	}
	return c.write(ctx, chunk)
}

func appendBytes(b, s []byte) []byte {
	if s == nil {
		return binary.LittleEndian.AppendUint32(b, null)
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// unsealOpen verifies and decrypts an answer to open.
func (c *Channel) unsealOpen(b []byte) ([]byte, error) {
	c.mu.Lock()
	o := c.opening
	c.mu.Unlock()
	if o == nil {
		return nil, fmt.Errorf("keys that nobody asked for: %w", ua.StatusBadSecurityChecksFailed)
	}
	d := Decoder{b: b, i: chunkHead}
	policy, sender := d.text(), d.bytes()
	d.bytes() // our thumbprint
	if d.err != nil {
		return nil, d.err
	}
	if policy != c.cfg.PolicyURI {
		return nil, fmt.Errorf("the server answered with policy %q: %w", policy, ua.StatusBadSecurityPolicyRejected)
	}
	if c.secured() && !bytes.HasPrefix(sender, c.cfg.PeerCert) && !bytes.HasPrefix(c.cfg.PeerCert, sender) {
		return nil, fmt.Errorf("the channel's certificate is not the endpoint's: %w", ua.StatusBadCertificateInvalid)
	}
	return unseal(o.algo, c.secured(), c.secured(), d.i, b)
}

// opened installs new keys. It runs in the reading goroutine: the next chunk may already need them.
func (c *Channel) opened(id uint32, data []byte) error {
	c.mu.Lock()
	o := c.opening
	c.opening = nil
	c.mu.Unlock()
	v, err := Reply{raw: data}.Decode()
	resp, ok := v.(*ua.OpenSecureChannelResponse)
	switch {
	case o == nil || id != o.request:
		return fmt.Errorf("keys for another request: %w", ua.StatusBadSecurityChecksFailed)
	case err != nil:
		o.result <- opened{err: err}
		return nil
	case !ok || resp.SecurityToken == nil:
		return fmt.Errorf("%T instead of keys: %w", v, ua.StatusBadUnknownResponse)
	}
	algo, err := uapolicy.Symmetric(c.cfg.PolicyURI, o.nonce, resp.ServerNonce)
	if err != nil {
		return fmt.Errorf("deriving keys: %w", err)
	}
	t := &token{
		channel: resp.SecurityToken.ChannelID, id: resp.SecurityToken.TokenID, algo: algo,
		sign: c.secured(), encrypt: c.cfg.Mode == ua.MessageSecurityModeSignAndEncrypt,
	}
	c.mu.Lock()
	c.tokens = append(c.tokens, t)
	if len(c.tokens) > 2 {
		c.tokens = c.tokens[1:]
	}
	c.mu.Unlock()
	o.result <- opened{token: t, life: time.Duration(resp.SecurityToken.RevisedLifetime) * time.Millisecond}
	return nil
}

// unsealMessage verifies and decrypts a chunk with the keys that it names. Once the server uses new keys, the old
// ones are refused. Some servers give new keys the old name, so that the newest of that name are tried first.
func (c *Channel) unsealMessage(b []byte) (plain []byte, err error) {
	channel, id := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	c.mu.Lock()
	tokens := c.tokens
	c.mu.Unlock()
	err = fmt.Errorf("a message with keys %d that are unknown or expired: %w", id, ua.StatusBadSecureChannelTokenUnknown)
	for i := len(tokens) - 1; i >= 0; i-- {
		t := tokens[i]
		if t.id != id || t.channel != channel {
			continue
		}
		if plain, err = unseal(t.algo, t.sign, t.encrypt, chunkHead+4, b); err == nil {
			c.mu.Lock()
			c.tokens = tokens[i:] // this goroutine alone adds to them
			c.mu.Unlock()
			return plain, nil
		}
	}
	return nil, err
}

// renew replaces the keys after three quarters of their life until the channel ends.
func (c *Channel) renew(life time.Duration) {
	if life <= 0 || life > c.cfg.Lifetime {
		life = c.cfg.Lifetime
	}
	for {
		timer := time.NewTimer(life * 3 / 4)
		select {
		case <-c.done:
			timer.Stop()
			return
		case <-timer.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), min(c.cfg.CallTimeout, life/4+time.Second))
		next, err := c.open(ctx, ua.SecurityTokenRequestTypeRenew)
		cancel()
		if err != nil {
			c.fail(fmt.Errorf("renewing the channel's keys: %w", err))
			return
		}
		if next > 0 && next < life {
			life = next
		}
	}
}
