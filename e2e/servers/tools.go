package servers

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

const toolLimit = 60 * time.Second

// Kcat runs kcat, a Kafka client on librdkafka, and returns its standard
// output. It is installed when it is missing.
func Kcat(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, toolLimit, "", append([]string{apt(t, "kcat", "kcat")}, args...)...)
}

// GRPCurl runs the grpcurl at path bin and returns its standard output.
func GRPCurl(t testing.TB, bin string, args ...string) string {
	t.Helper()
	return run(t, toolLimit, "", append([]string{bin}, args...)...)
}

// Chromium installs Debian's Chromium when it is missing and returns its path.
func Chromium(t testing.TB) string {
	t.Helper()
	return apt(t, "chromium", "chromium")
}

// Page is what Browse opens and looks for.
type Page struct {
	URL        string        `json:"url"`
	Wait       []Seen        `json:"wait"`
	Screenshot string        `json:"screenshot,omitempty"` // PNG file, written at the end; optional
	Width      int           `json:"width,omitempty"`      // of the window, pixels; 1280
	Height     int           `json:"height,omitempty"`     // 800
	Limit      time.Duration `json:"-"`                    // for each wait; 0 means 15 s
}

// Seen is an element of a page that a person can see.
type Seen struct {
	Selector string `json:"selector"` // CSS
	Text     string `json:"text"`     // to look for: regular expression, "" for any; seen: the element's text
	// Rises waits on until the element's number is larger than when it was first seen; From is what it was.
	Rises bool    `json:"rises,omitempty"`
	From  float64 `json:"from,omitempty"`
}

// Browse opens a page in headless Chromium and waits for each of page.Wait in
// turn, without loading the page again. It returns them with the texts that
// were there, and fails the test when one does not appear, when the page throws
// or when it writes an error to the browser's console.
func Browse(t testing.TB, page Page) []Seen {
	t.Helper()
	if page.Limit == 0 {
		page.Limit = 15 * time.Second
	}
	args, err := json.Marshal(struct {
		Page
		Executable string `json:"executable"`
		Timeout    int64  `json:"timeout"` // ms
	}{page, Chromium(t), page.Limit.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	limit := toolLimit + time.Duration(len(page.Wait))*page.Limit
	out := run(t, limit, os.TempDir(), apt(t, "node", "nodejs"), nodeProgram(t, "browse.js"), string(args))
	var seen []Seen
	for line := range strings.Lines(out) {
		var s Seen
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("reading what the browser saw: %v: %s", err, line)
		}
		seen = append(seen, s)
	}
	return seen
}
