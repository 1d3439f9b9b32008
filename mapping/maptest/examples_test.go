package maptest

import (
	"bytes"
	"testing"
)

func TestEveryExamplePassesItsTests(t *testing.T) {
	t.Parallel()
	r := Run([]string{"../../examples/..."}, Options{})
	var text bytes.Buffer
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Cases) == 0 || r.Faults.Len() > 0 {
		t.Errorf("examples:\n%s", text.String())
	}
}
