package unit

import (
	"strings"

	"github.com/plantloom/plantloom/internal/nearest"
)

// nearestCode returns the code that text was probably meant to be, or "".
func nearestCode(text string) string {
	for _, h := range habits {
		if h.written == text {
			return h.meant
		}
	}
	known := make([]string, 0, 2*len(codes))
	for _, c := range codes {
		known = append(known, c.ucum, c.code)
	}
	for _, k := range known {
		if strings.EqualFold(k, text) {
			return k
		}
	}
	for _, h := range habits {
		if strings.EqualFold(h.written, text) {
			return h.meant
		}
	}
	return nearest.Name(text, known, nearest.AsWritten, nearest.TwoLetters)
}
