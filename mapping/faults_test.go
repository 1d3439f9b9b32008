package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plantloom/plantloom/internal/conf"
)

// planted reads the expectations of the planted faults: file:line:column code, sorted as faults are.
func planted(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/faults/expect.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestEveryPlantedFaultIsReportedAtItsPlaceInOnePass(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	Lint(os.DirFS("testdata/faults"), "", nil, &faults)
	var got []string
	for _, f := range faults.All() {
		got = append(got, fmt.Sprintf("%s %s", f.Pos, f.Code))
	}
	if diff := cmp.Diff(planted(t), got); diff != "" {
		var text bytes.Buffer
		_ = faults.Text(&text)
		t.Errorf("faults (-planted +reported):\n%s\n%s", diff, text.String())
	}
}

func TestFaultsAreTheSameInJSON(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	LintPath("testdata/faults", nil, &faults)
	text, err := json.Marshal(&faults)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		File, Code   string
		Line, Column int
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s:%d:%d %s", strings.TrimPrefix(f.File, "testdata/faults/"), f.Line, f.Column, f.Code))
	}
	if diff := cmp.Diff(planted(t), got); diff != "" {
		t.Errorf("faults (-planted +reported):\n%s", diff)
	}
}

func TestEveryFaultIsDrawnWithACaretUnderItsColumn(t *testing.T) {
	t.Parallel()
	var faults conf.Faults
	LintPath("testdata/faults", nil, &faults)
	var text bytes.Buffer
	if err := faults.Text(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for _, f := range faults.All() {
		head := fmt.Sprintf("%s [%s]", f.Error(), f.Code)
		at := slices.Index(lines, head)
		if at < 0 || at+2 >= len(lines) {
			t.Errorf("not shown: %s", head)
			continue
		}
		source, caret, _ := strings.Cut(lines[at+2], "|")
		if !strings.HasPrefix(lines[at+1], fmt.Sprintf("  %d | ", f.Pos.Line)) || strings.TrimSpace(source) != "" {
			t.Errorf("%s\n%s\n%s", head, lines[at+1], lines[at+2])
		}
		if column := strings.IndexByte(caret, '^'); column != f.Pos.Column {
			t.Errorf("%s: the caret stands under column %d", head, column)
		}
	}
}
