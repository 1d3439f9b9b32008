package engine

import "testing"

// R3
func TestWholeOutputsConvertAndCompareExactly(t *testing.T) {
	t.Parallel()
	const big = 1 << 53 // above, a float64 holds only every other integer
	bounds := func(low, high *float64) func(*Parameter) {
		return func(p *Parameter) { p.Min, p.Max = low, high }
	}
	for name, tt := range map[string]struct {
		typ, unit, value, code string
		change                 func(*Parameter)
		want                   string // what is written, or the code of the refusal
	}{
		"a decimal fraction that is whole in the output's unit":   {"int", "cm", "0.29", "MTR", nil, "29"},
		"one for an output that has no sign":                      {"uint", "cm", "0.57", "MTR", nil, "57"},
		"one of a unit with an offset":                            {"int", "Cel", "98.6", "FAH", nil, "37"},
		"more digits than a float64 has":                          {"int", "m", "9007199254740.993", "KMT", nil, "9007199254740993"},
		"a value that is not whole in the output's unit":          {"int", "cm", "0.295", "MTR", nil, "WRONG_TYPE"},
		"one that is whole in a float64 only":                     {"int", "cm", "0.2900000000000000000001", "MTR", nil, "WRONG_TYPE"},
		"a value that does not fit":                               {"int", "um", "9223372036855", "MTR", nil, "OUT_OF_RANGE"},
		"a float that is rounded once":                            {"float", "cm", "0.29", "MTR", nil, "29"},
		"a float that is too large":                               {"float", "pm9", "1", "Ym9", nil, "OUT_OF_RANGE"},
		"the maximum itself":                                      {"int", "cm", "0.29", "MTR", bounds(nil, number64(29)), "29"},
		"the minimum itself":                                      {"int", "cm", "0.29", "MTR", bounds(number64(29), nil), "29"},
		"one above a maximum that its float64 would not exceed":   {"int", "m", "9007199254740.993", "KMT", bounds(nil, number64(big)), "OUT_OF_RANGE"},
		"one below a minimum that its float64 would not go below": {"int", "m", "-9007199254740.993", "KMT", bounds(number64(-big), nil), "OUT_OF_RANGE"},
		"an unsigned one above such a maximum":                    {"uint", "m", "9007199254740.993", "KMT", bounds(nil, number64(big)), "OUT_OF_RANGE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := downloadSpec()
			row := Parameter{Name: "Length", Type: tt.typ, Unit: tt.unit, Required: true}
			if tt.change != nil {
				tt.change(&row)
			}
			spec.Outputs[2].Table = []Parameter{row}
			w := one(t, spec, nil)
			w.add(assetPath, 0, operationRecord("4711", "M1", "40", 1, false, parameter("Length", tt.value, tt.code)))
			got := ""
			switch {
			case len(w.out.Commands) == 1:
				for _, x := range w.out.Commands[0].GetWrites() {
					if x.GetTagId() == "P1/Length" {
						got = show(x.GetValue())
					}
				}
			case len(w.out.Events) == 1:
				got = production(t, w.out.Events[0]).GetReasonText()
			}
			if got != tt.want {
				t.Errorf("%s %s gives %q, want %q", tt.value, tt.code, got, tt.want)
			}
		})
	}
}
