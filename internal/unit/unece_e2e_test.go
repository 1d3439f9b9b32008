//go:build e2e

package unit

import (
	"encoding/csv"
	"os"
	"strings"
	"testing"
)

// The published list is an independent witness that the codes exist and mean what
// the table says. It is no part of the project, so this runs in end-to-end tests.
func TestTheCodesAreThoseThatArePublished(t *testing.T) {
	t.Parallel()
	const path = "../../../shared/data/opcua/UNECE_to_OPCUA.csv"
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("the published list of unit codes is missing: %v", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	symbols := map[string]string{}
	for _, row := range rows {
		symbols[row[0]] = row[2]
	}
	// The published symbols in UCUM's spelling, where a rule gives it.
	plain := strings.NewReplacer("·", ".", "²", "2", "³", "3", "µ", "u", "Ω", "Ohm", "°C", "Cel", "°F", "[degF]", "°R", "[degR]", "°", "deg")
	same := 0
	for _, row := range codes {
		symbol, ok := symbols[row.code]
		if !ok {
			t.Errorf("%s (%s) is not a published code", row.code, row.ucum)
			continue
		}
		if u, err := parseUCUM(plain.Replace(symbol)); err == nil {
			if own := parse(t, row.code); !own.Equal(u) {
				t.Errorf("%s is published as %s, the table says %s", row.code, symbol, row.ucum)
			}
			same++
		}
	}
	if same < len(codes)/2 {
		t.Errorf("only %d of %d symbols could be compared", same, len(codes))
	}
}
