package unit

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func parse(t testing.TB, text string) Unit {
	t.Helper()
	u, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestConversionsGiveThePublishedValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value    float64
		from, to string
		want     float64
	}{
		{100, "Cel", "[degF]", 212},
		{32, "[degF]", "Cel", 0},
		{-40, "FAH", "CEL", -40},
		{98.6, "[degF]", "Cel", 37},
		{25, "CEL", "KEL", 298.15},
		{0, "K", "[degF]", -459.67},
		{491.67, "[degR]", "K", 273.15},
		{3, "mm", "cm", 0.3},
		{1, "[in_i]", "mm", 25.4},
		{1, "[ft_us]", "m", 1200.0 / 3937},
		{1, "LBR", "GRM", 453.59237},
		{16, "[oz_av]", "[lb_av]", 1},
		{1, "[lbf_av].[in_i]", "N.m", 0.1129848290276167},
		{50, "F21", "NU", 5.649241451380835},
		{1, "[lbf_av].[ft_i]", "NU", 1.3558179483314004},
		{1, "[lbf_av].[ft_us]", "N.m", 4.4482216152605 * 1200 / 3937},
		{1, "[psi]", "kPa", 6.894757293168361},
		{1, "bar", "PS", 14.503773773020923},
		{1, "BAR", "MPA", 0.1},
		{1013.25, "mbar", "atm", 1},
		{1, "KWH", "J", 3.6e6},
		{1, "[HP]", "W", 745.6998715822702},
		{60, "l/min", "m3/h", 3.6},
		{1, "[gal_us]/min", "l/min", 3.785411784},
		{36, "km/h", "m/s", 10},
		{1500, "RPM", "Hz", 25},
		{2, "DZN", "C62", 24},
		{5, "%", "1", 0.05},
		{180, "deg", "rad", math.Pi},
		{1, "[pi].rad", "deg", 180},
		{1, "C25", "rad", 0.001},
		{24000, "LD", "m3/h", 1},
		{1000, "L2", "MQH", 60},
		{5, "PS", "[lbf_av]/[in_i]2", 5},
		{2, "m-2", "1/m2", 2},
		{1, "g/cm3", "KMQ", 1000},
		{1.5, "A.h", "C", 5400},
		{7, "10.m", "m", 70},
		{1, "(kg.m)/(s2)", "N", 1},
		{1, "kg.m.s-2", "N", 1},
	} {
		got, err := Convert(c.value, parse(t, c.from), parse(t, c.to))
		if err != nil || math.Abs(got-c.want) > 1e-15*math.Abs(c.want) {
			t.Errorf("%v %s = %v %s, %v; want %v", c.value, c.from, got, c.to, err, c.want)
		}
	}
}

func TestRationalConversionsAreExact(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ value, from, to, want string }{
		{"0.29", "m", "cm", "29"},
		{"0.295", "MTR", "CMT", "59/2"},
		{"1", "mm", "[in_i]", "5/127"},
		{"100", "Cel", "[degF]", "212"},
		{"98.6", "[degF]", "Cel", "37"},
		{"0.1", "CEL", "KEL", "273.25"},
		{"-459.67", "FAH", "[degR]", "0"},
		{"9007199254740993", "km", "m", "9007199254740993000"},
		{"180", "deg", "[pi].rad", "1"},
		{"0.29", "m", "m", "0.29"},
	} {
		v := rat(c.value)
		got, err := ConvertRat(v, parse(t, c.from), parse(t, c.to))
		if err != nil || got.Cmp(rat(c.want)) != 0 {
			t.Errorf("%s %s = %v %s, %v; want %s", c.value, c.from, got, c.to, err, c.want)
		}
		if v.Cmp(rat(c.value)) != 0 {
			t.Errorf("%s %s has become %v", c.value, c.from, v)
		}
	}
	var incompatible *IncompatibleError
	if v, err := ConvertRat(rat("1"), parse(t, "m"), parse(t, "kg")); v != nil || !errors.As(err, &incompatible) {
		t.Errorf("1 m = %v kg, %v", v, err)
	}
	if v, err := ConvertRat(rat("7"), Unit{}, parse(t, "C62")); err != nil || v.Cmp(rat("7")) != 0 {
		t.Errorf("7 without a unit is %v, %v", v, err)
	}
}

func TestTheCodeOfAUnitIsThatOfRecommendation20(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"N.m": "NU", "J": "JOU", "kg": "KGM", "g": "GRM", "Cel": "CEL", "[degF]": "FAH", "1": "C62", "{pieces}": "C62", "H87": "H87",
		"L/min": "L2", "l/min": "L2", "m3/h": "MQH", "kW.h": "KWH", "[lbf_av].[in_i]": "F21", "[in_i].[lbf_av]": "F21", "%": "P1",
		"dm3": "DMQ", "L": "LTR", "mm": "MMT", "GL": "GL", "[psi]": "PS", "[lbf_av]/[in_i]2": "PS", "1/min": "RPM", "V.A": "D46", "deg": "DD", "mrad": "C25", "l/d": "LD",
		"[lbf_av].[ft_us]": "", "K.m": "", "m9": "",
	} {
		if got := parse(t, text).Code(); got != want {
			t.Errorf("code of %s is %q, want %q", text, got, want)
		}
	}
}

func TestEveryCodeOfTheTableMeansWhatItSays(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, row := range codes {
		if seen[row.code] {
			t.Errorf("code %s stands twice", row.code)
		}
		seen[row.code] = true
		byCode, byText := parse(t, row.code), parse(t, row.ucum)
		if byCode.Code() != row.code || !byCode.Equal(byText) || byText.Code() != row.code && !byText.Equal(parse(t, byText.Code())) {
			t.Errorf("%s is %s with code %s; %s has code %s", row.code, byCode, byCode.Code(), row.ucum, byText.Code())
		}
	}
	for _, h := range habits {
		if _, err := Parse(h.meant); err != nil {
			t.Errorf("%s is taken for %s: %v", h.written, h.meant, err)
		}
	}
}

func TestUnlikeUnitsAreNotConverted(t *testing.T) {
	t.Parallel()
	_, err := Convert(1, parse(t, "bar"), parse(t, "N.m"))
	var incompatible *IncompatibleError
	if !errors.As(err, &incompatible) || err.Error() != "bar (m-1·kg·s-2) cannot be converted to N.m (m2·kg·s-2)" {
		t.Errorf("got %v", err)
	}
	if Compatible(parse(t, "C62"), parse(t, "kg")) || !Compatible(parse(t, "N.m"), parse(t, "J")) {
		t.Error("compatibility is not that of the dimensions")
	}
}

func TestAnUnknownUnitNamesTheNearest(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Nm": "N.m", "°C": "Cel", "kgm": "KGM", "KG": "kg", "psi": "[psi]", "rpm": "RPM", "pcs": "C62", "kWh": "kW.h", "CELL": "CEL",
		"[lbf_av].[in]": "[lbf_av].[in_i]", "": "", "quux quux": "", "MMT ": "MMT",
		"C63": "C62", "KGMM": "KGM", "[lbf_aw].[in_i]": "[lbf_av].[in_i]", "xy": "",
	} {
		_, err := Parse(text)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || unknown.Near != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTextThatIsNoUnitIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"m.", "m//s", "(m", "m)", "m10", "m0", "m-", "{x", "Cel/s", "Cel2", "kCel.m", "2.Cel", "0.m", "k%", "kmin", "((((((m))))))",
		"xyz", "m..s", "N.", "[lbf_av", "Cel.m", "kCel", "1000000000000000000000", "9999999999.m", "m9.m9.m9.m9.m9", "kg kg", "m s", "µ",
	} {
		if u, err := Parse(text); err == nil {
			t.Errorf("%q is %s", text, u.Dimension())
		}
	}
}

func TestThereAndBackIsTheSameValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from, err := Parse(codes[rapid.IntRange(0, len(codes)-1).Draw(t, "from")].code)
		if err != nil {
			t.Fatal(err)
		}
		to, err := Parse(codes[rapid.IntRange(0, len(codes)-1).Draw(t, "to")].code)
		if err != nil {
			t.Fatal(err)
		}
		v := rapid.Float64Range(-1e6, 1e6).Draw(t, "value")
		there, err := Convert(v, from, to)
		if (err == nil) != Compatible(from, to) {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
		if err != nil {
			return
		}
		back, err := Convert(there, to, from)
		if err != nil || math.Abs(back-v) > 1e-9*math.Max(math.Abs(v), 1) {
			t.Fatalf("%v %s = %v %s = %v %s, %v", v, from, there, to, back, from, err)
		}
	})
}

// AllocsPerRun forbids parallel tests.
func TestTheZeroConversionChangesNothingAndNoneAllocates(t *testing.T) {
	if got := (Conversion{}).Apply(1.5); got != 1.5 {
		t.Error(got)
	}
	c, err := NewConversion(parse(t, "mm"), parse(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	if n := testing.AllocsPerRun(100, func() { sum += c.Apply(2) }); n != 0 || sum == 0 {
		t.Errorf("%v allocations per value", n)
	}
}

func FuzzParse(f *testing.F) {
	for _, row := range codes {
		f.Add(row.code)
		f.Add(row.ucum)
	}
	f.Add("(kg.m)/(s2{x})")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := Parse(text)
		if err != nil {
			return
		}
		if got, err := Convert(2, u, u); err != nil || math.Abs(got-2) > 1e-12 {
			t.Errorf("2 %s = %v %s, %v", text, got, text, err)
		}
		if c := u.Code(); c != "" {
			if o, err := Parse(c); err != nil || !o.Equal(u) {
				t.Errorf("%s has code %s, which is another unit (%v)", text, c, err)
			}
		}
	})
}
