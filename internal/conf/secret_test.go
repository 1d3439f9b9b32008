package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Setenv("CONF_TEST_SECRET", "hunter2")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("hunter2\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, reference := range []string{"env:CONF_TEST_SECRET", "file:pw"} {
		s, err := NewSecret(reference, dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Reveal(); got != "hunter2" || err != nil {
			t.Fatalf("%s reveals %q, %v", reference, got, err)
		}
		holder := struct {
			Password Secret
			Pointer  *Secret
			List     []Secret
			hidden   Secret
		}{s, &s, []Secret{s}, s}
		var out bytes.Buffer
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, format+"\n", s)
			fmt.Fprintf(&out, format+"\n", &s)
			fmt.Fprintf(&out, format+"\n", holder)
		}
		if text, err := json.Marshal(holder); err != nil {
			t.Error(err)
		} else {
			out.Write(text)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("secret", "s", s, "p", &s, "all", holder)
		}
		if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "***") {
			t.Errorf("printed: %s", out.String())
		}
	}
}

func TestALiteralSecretAppearsNowhere(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/secrets.txtar")
	if err != nil {
		t.Fatal(err)
	}
	faults, c := decodeAll(input(text))
	var out bytes.Buffer
	if err := faults.Text(&out); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(faults)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%s%s%v%+v%#v", out.String(), asJSON, faults.Err(), c.Sources, c.Password)
	if strings.Contains(all, "hunter") {
		t.Errorf("a literal secret is shown:\n%s", all)
	}
}

func TestASecretThatCannotBeReadSaysWhichOne(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]string{
		"env:CONF_TEST_NOT_SET": "environment variable CONF_TEST_NOT_SET is not set",
		"file:nowhere":          "nowhere",
	} {
		s, err := NewSecret(reference, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reveal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to name %q", reference, err, want)
		}
	}
	if got, err := (Secret{}).Reveal(); got != "" || err != nil {
		t.Errorf("no secret reveals %q, %v", got, err)
	}
}
