package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"
)

// page is one page of a list that is sorted by time, the newest first. Its token names the last item of the page
// before, not a number of items: what comes new meanwhile shifts nothing.
type page struct {
	left, bytes int
	from        *place // nil: the first page
	last        *place
	filter      uint32
	more        bool
}

// place is where a list goes on.
type place struct {
	At     int64  `json:"t"` // ns since 1970
	ID     string `json:"i"`
	Filter uint32 `json:"f"` // of the list that it belongs to
}

// newPage checks a page's size and token; filter is what else the request asked for.
func newPage(size int32, token string, filter ...string) (*page, error) {
	p := &page{left: int(size), bytes: pageBytes}
	switch {
	case size == 0:
		p.left = 50
	case size < 0 || size > 500:
		return nil, badField("page_size", fmt.Sprintf("is %d, it must be from 1 to 500", size))
	}
	h := fnv.New32a()
	for _, f := range filter {
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	p.filter = h.Sum32()
	if token == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(b, &p.from)
	}
	switch {
	case err != nil || p.from == nil:
		return nil, badField("page_token", "is not one that an earlier answer gave")
	case p.from.Filter != p.filter:
		return nil, badField("page_token", "belongs to a list with another filter; ask for the first page again")
	}
	return p, nil
}

// behind reports whether an item stands behind the page before. Equal times are sorted by id, rising or falling.
func (p *page) behind(at time.Time, id string, rising bool) bool {
	switch n := at.UnixNano(); {
	case p.from == nil:
		return true
	case n != p.from.At:
		return n < p.from.At
	}
	return id != p.from.ID && (id > p.from.ID) == rising
}

// take reports whether the item still goes onto the page. A page always takes one.
func (p *page) take(at time.Time, id string, size int) bool {
	if p.left == 0 || p.last != nil && size > p.bytes {
		p.more = true
		return false
	}
	p.left--
	p.bytes -= size
	p.last = &place{At: at.UnixNano(), ID: id, Filter: p.filter}
	return true
}

// next returns the token of the page behind, "" when there is none.
func (p *page) next() string {
	if !p.more {
		return ""
	}
	b, err := json.Marshal(p.last)
	if err != nil {
		panic(fmt.Sprintf("gateway: encoding a page token: %v", err)) // numbers and strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
