package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gopcua/opcua/ua"
	"github.com/gopcua/opcua/uapolicy"
)

// token is one generation of the channel's symmetric keys.
type token struct {
	channel, id   uint32
	algo          *uapolicy.EncryptionAlgorithm
	sign, encrypt bool
}

// room is how many bytes of a message fit into one chunk.
func (t *token) room(chunk int) int {
	space := chunk - chunkHead - 4
	if t.encrypt {
		space = space/t.algo.BlockSize()*t.algo.PlaintextBlockSize() - 1 // the padding's size
	}
	if t.sign {
		space -= t.algo.SignatureLength()
	}
	return space - 8 // the sequence header
}

func (t *token) seal(kind string, flag byte, sequence, part []byte) ([]byte, error) {
	head := make([]byte, 0, chunkHead+4)
	head = append(append(head, kind...), flag, 0, 0, 0, 0)
	head = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(head, t.channel), t.id)
	return seal(t.algo, t.sign, t.encrypt, head, append(sequence, part...))
}

// seal pads, signs and encrypts one chunk (Part 6 6.7.2). The signature covers the header with the final size.
func seal(algo *uapolicy.EncryptionAlgorithm, sign, encrypt bool, head, plain []byte) ([]byte, error) {
	out := append(head[:len(head):len(head)], plain...)
	signature := 0
	if sign {
		signature = algo.SignatureLength()
	}
	size := len(out) + signature
	if encrypt {
		block, wide := algo.PlaintextBlockSize(), algo.BlockSize() > 256 // keys over 2048 bits have a second size byte
		extra := 1
		if wide {
			extra = 2
		}
		pad := (block - (len(plain)+extra+signature)%block) % block
		for range pad + 1 {
			out = append(out, byte(pad))
		}
		if wide {
			out = append(out, byte(pad>>8))
		}
		size = len(head) + (len(out)-len(head)+signature)/block*algo.BlockSize()
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(size))
	if !sign {
		return out, nil
	}
	s, err := algo.Signature(out)
	if err != nil {
		return nil, err
	}
	out = append(out, s...)
	if !encrypt {
		return out, nil
	}
	secret, err := algo.Encrypt(out[len(head):])
	if err != nil {
		return nil, err
	}
	return append(out[:len(head)], secret...), nil
}

var errSecurity = errors.New("signature, padding or length is wrong")

// unseal reverses seal: it returns the sequence header and the body behind the first head bytes.
func unseal(algo *uapolicy.EncryptionAlgorithm, sign, encrypt bool, head int, b []byte) ([]byte, error) {
	if !sign {
		return b[head:], nil
	}
	if encrypt {
		plain, err := algo.Decrypt(b[head:])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ua.StatusBadSecurityChecksFailed, err)
		}
		b = append(b[:head:head], plain...)
	}
	end := len(b) - algo.RemoteSignatureLength()
	if end < head {
		return nil, fmt.Errorf("%w: %w", ua.StatusBadSecurityChecksFailed, errSecurity)
	}
	if err := algo.VerifySignature(b[:end], b[end:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ua.StatusBadSecurityChecksFailed, err)
	}
	if encrypt {
		if end <= head+1 {
			return nil, fmt.Errorf("%w: %w", ua.StatusBadSecurityChecksFailed, errSecurity)
		}
		pad := int(b[end-1]) + 1
		if algo.SignatureLength() > 256 { // our key is longer than 2048 bits, and the server encrypted with it
			pad = int(b[end-1])<<8 + int(b[end-2]) + 2
		}
		end -= pad
	}
	if end < head {
		return nil, fmt.Errorf("%w: %w", ua.StatusBadSecurityChecksFailed, errSecurity)
	}
	return b[head:end], nil
}
