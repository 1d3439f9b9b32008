package formula

import "math"

type unitAtom struct {
	name   string
	metric bool
	factor float64
	offset float64
	dim    dimension
}

type unitPrefix struct {
	name   string
	factor float64
}

func prefixes() []unitPrefix {
	return []unitPrefix{
		{"da", 1e1}, {"h", 1e2}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
		{"d", 1e-1}, {"c", 1e-2}, {"m", 1e-3}, {"u", 1e-6}, {"n", 1e-9}, {"p", 1e-12},
	}
}

// Sizes are those of the UCUM specification, in metre, gram, second, ampere, kelvin, mole, candela and radian.
const (
	inch       = 0.0254
	pound      = 453.59237
	poundForce = pound * 9.80665
)

func atoms() []unitAtom {
	none := dimension{}
	length, mass, second := dimension{1}, dimension{0, 1}, dimension{0, 0, 1}
	force := dimension{1, 1, -2}
	pressure := dimension{-1, 1, -2}
	energy := dimension{2, 1, -2}
	power := dimension{2, 1, -3}
	volume := dimension{3}
	kelvin, radian := dimension{0, 0, 0, 0, 1}, dimension{0, 0, 0, 0, 0, 0, 0, 1}
	return []unitAtom{
		{"%", false, 0.01, 0, none}, {"[ppth]", false, 1e-3, 0, none}, {"[ppm]", false, 1e-6, 0, none},
		{"m", true, 1, 0, length}, {"g", true, 1, 0, mass}, {"s", true, 1, 0, second},
		{"A", true, 1, 0, dimension{0, 0, 0, 1}}, {"K", true, 1, 0, kelvin}, {"mol", true, 1, 0, dimension{0, 0, 0, 0, 0, 1}},
		{"cd", true, 1, 0, dimension{0, 0, 0, 0, 0, 0, 1}}, {"rad", true, 1, 0, radian}, {"deg", false, math.Pi / 180, 0, radian},
		{"min", false, 60, 0, second}, {"h", false, 3600, 0, second}, {"d", false, 86400, 0, second}, {"wk", false, 604800, 0, second},
		{"l", true, 1e-3, 0, volume}, {"L", true, 1e-3, 0, volume}, {"t", true, 1e6, 0, mass},
		{"N", true, 1e3, 0, force}, {"Pa", true, 1e3, 0, pressure}, {"bar", true, 1e8, 0, pressure},
		{"J", true, 1e3, 0, energy}, {"W", true, 1e3, 0, power}, {"Hz", true, 1, 0, dimension{0, 0, -1}},
		{"V", true, 1e3, 0, dimension{2, 1, -3, -1}}, {"Ohm", true, 1e3, 0, dimension{2, 1, -3, -2}}, {"C", true, 1, 0, dimension{0, 0, 1, 1}},
		{"Cel", false, 1, 273.15, kelvin}, {"[degF]", false, 5.0 / 9, 459.67 * 5 / 9, kelvin},
		{"[in_i]", false, inch, 0, length}, {"[ft_i]", false, 12 * inch, 0, length}, {"[yd_i]", false, 36 * inch, 0, length},
		{"[mi_i]", false, 1609.344, 0, length}, {"[lb_av]", false, pound, 0, mass}, {"[oz_av]", false, pound / 16, 0, mass},
		{"[lbf_av]", false, poundForce, 0, force}, {"[psi]", false, poundForce / (inch * inch), 0, pressure},
		{"[gal_us]", false, 231 * inch * inch * inch, 0, volume}, {"[pi]", false, math.Pi, 0, none},
	}
}

type uneceUnit struct{ code, ucum string }

// unece lists the codes of UNECE Recommendation 20 that plants use, the preferred one of a size first.
func unece() []uneceUnit {
	return []uneceUnit{
		{"C62", "1"}, {"H87", "{piece}"}, {"EA", "{each}"}, {"PR", "2"}, {"DZN", "12"}, {"P1", "%"}, {"59", "[ppm]"},
		{"MTR", "m"}, {"KMT", "km"}, {"DMT", "dm"}, {"CMT", "cm"}, {"MMT", "mm"}, {"4H", "um"}, {"INH", "[in_i]"}, {"FOT", "[ft_i]"}, {"YRD", "[yd_i]"}, {"SMI", "[mi_i]"},
		{"MTK", "m2"}, {"CMK", "cm2"}, {"MMK", "mm2"}, {"MTQ", "m3"}, {"LTR", "l"}, {"HLT", "hl"}, {"DLT", "dl"}, {"CLT", "cl"}, {"MLT", "ml"}, {"CMQ", "cm3"}, {"MMQ", "mm3"}, {"GLL", "[gal_us]"},
		{"KGM", "kg"}, {"GRM", "g"}, {"MGM", "mg"}, {"TNE", "t"}, {"LBR", "[lb_av]"}, {"ONZ", "[oz_av]"},
		{"SEC", "s"}, {"C26", "ms"}, {"MIN", "min"}, {"HUR", "h"}, {"DAY", "d"},
		{"NEW", "N"}, {"B47", "kN"}, {"NU", "N.m"}, {"F21", "[lbf_av].[in_i]"}, {"M92", "[lbf_av].[ft_i]"},
		{"PAL", "Pa"}, {"A97", "hPa"}, {"KPA", "kPa"}, {"MPA", "MPa"}, {"BAR", "bar"}, {"MBR", "mbar"}, {"PS", "[psi]"},
		{"JOU", "J"}, {"KJO", "kJ"}, {"WHR", "W.h"}, {"KWH", "kW.h"}, {"MWH", "MW.h"}, {"WTT", "W"}, {"KWT", "kW"}, {"MAW", "MW"},
		{"KEL", "K"}, {"CEL", "Cel"}, {"FAH", "[degF]"}, {"AMP", "A"}, {"4K", "mA"}, {"VLT", "V"}, {"2Z", "mV"}, {"KVT", "kV"}, {"OHM", "Ohm"},
		{"HTZ", "Hz"}, {"KHZ", "kHz"}, {"MHZ", "MHz"}, {"RPM", "{rev}/min"}, {"MTS", "m/s"}, {"KMH", "km/h"}, {"2X", "m/min"},
		{"L2", "l/min"}, {"LD", "l/d"}, {"MQH", "m3/h"}, {"KGS", "kg/s"}, {"F31", "kg/min"}, {"E93", "kg/h"},
		{"C81", "rad"}, {"C25", "mrad"}, {"DD", "deg"}, {"C34", "mol"},
	}
}
