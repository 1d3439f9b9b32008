package unit

// atom is a symbol of UCUM. Its factor leads to the base units; numbers are those
// of the UCUM specification 2.1 (2017), tables 2 to 12, unless a comment says more.
type atom struct {
	name   string
	metric bool // takes prefixes
	factor string
	dim    dim
	offset string // special units: added before the factor
}

// Exponents stand in the order m, kg, s, K, A, mol, cd, rad.
var atoms = [...]atom{
	// base; UCUM's base of mass is the gram, ours the kilogram
	{"m", true, "1", dim{1}, ""}, {"g", true, "0.001", dim{0, 1}, ""}, {"s", true, "1", dim{0, 0, 1}, ""},
	{"K", true, "1", dim{0, 0, 0, 1}, ""}, {"A", true, "1", dim{0, 0, 0, 0, 1}, ""},
	{"mol", true, "1", dim{0, 0, 0, 0, 0, 1}, ""}, {"cd", true, "1", dim{0, 0, 0, 0, 0, 0, 1}, ""},
	{"rad", true, "1", dim{0, 0, 0, 0, 0, 0, 0, 1}, ""},
	// ratios
	{"%", false, "1/100", dim{}, ""}, {"[ppth]", false, "1/1000", dim{}, ""},
	{"[ppm]", false, "1e-6", dim{}, ""}, {"[ppb]", false, "1e-9", dim{}, ""},
	// pi is rounded, at the 37th decimal, and deg is that pi/180; every other ratio here is exact
	{"[pi]", false, "3.1415926535897932384626433832795028842", dim{}, ""},
	{"deg", false, "31415926535897932384626433832795028842/1800000000000000000000000000000000000000", dim{0, 0, 0, 0, 0, 0, 0, 1}, ""},
	// derived SI
	{"Hz", true, "1", dim{0, 0, -1}, ""}, {"N", true, "1", dim{1, 1, -2}, ""}, {"Pa", true, "1", dim{-1, 1, -2}, ""},
	{"J", true, "1", dim{2, 1, -2}, ""}, {"W", true, "1", dim{2, 1, -3}, ""}, {"C", true, "1", dim{0, 0, 1, 0, 1}, ""},
	{"V", true, "1", dim{2, 1, -3, 0, -1}, ""}, {"Ohm", true, "1", dim{2, 1, -3, 0, -2}, ""},
	{"S", true, "1", dim{-2, -1, 3, 0, 2}, ""}, {"F", true, "1", dim{-2, -1, 4, 0, 2}, ""},
	{"H", true, "1", dim{2, 1, -2, 0, -2}, ""}, {"Wb", true, "1", dim{2, 1, -2, 0, -1}, ""},
	{"T", true, "1", dim{0, 1, -2, 0, -1}, ""}, {"sr", true, "1", dim{0, 0, 0, 0, 0, 0, 0, 2}, ""},
	{"lm", true, "1", dim{0, 0, 0, 0, 0, 0, 1, 2}, ""}, {"lx", true, "1", dim{-2, 0, 0, 0, 0, 0, 1, 2}, ""},
	// temperature; UCUM lets Cel take prefixes, but offset and factor below are of the bare unit
	{"Cel", false, "1", dim{0, 0, 0, 1}, "273.15"}, {"[degF]", false, "5/9", dim{0, 0, 0, 1}, "459.67"},
	{"[degR]", false, "5/9", dim{0, 0, 0, 1}, ""},
	// time; the year is the Julian one
	{"min", false, "60", dim{0, 0, 1}, ""}, {"h", false, "3600", dim{0, 0, 1}, ""}, {"d", false, "86400", dim{0, 0, 1}, ""},
	{"wk", false, "604800", dim{0, 0, 1}, ""}, {"a", false, "31557600", dim{0, 0, 1}, ""},
	// used with SI
	{"l", true, "0.001", dim{3}, ""}, {"L", true, "0.001", dim{3}, ""}, {"ar", true, "100", dim{2}, ""},
	{"t", true, "1000", dim{0, 1}, ""}, {"bar", true, "100000", dim{-1, 1, -2}, ""},
	{"atm", false, "101325", dim{-1, 1, -2}, ""}, {"att", false, "98066.5", dim{-1, 1, -2}, ""},
	{"m[H2O]", true, "9806.65", dim{-1, 1, -2}, ""}, {"m[Hg]", true, "133322", dim{-1, 1, -2}, ""},
	{"gf", true, "0.00980665", dim{1, 1, -2}, ""}, {"[g]", true, "9.80665", dim{1, 0, -2}, ""},
	{"P", true, "0.1", dim{-1, 1, -1}, ""}, {"St", true, "0.0001", dim{2, 0, -1}, ""},
	{"cal", true, "4.184", dim{2, 1, -2}, ""}, {"cal_IT", true, "4.1868", dim{2, 1, -2}, ""},
	// international inch and pound: 0.0254 m and 0.45359237 kg (NIST SP 811, 2008, appendix B)
	{"[in_i]", false, "0.0254", dim{1}, ""}, {"[ft_i]", false, "0.3048", dim{1}, ""}, {"[yd_i]", false, "0.9144", dim{1}, ""},
	{"[mi_i]", false, "1609.344", dim{1}, ""}, {"[mil_i]", false, "0.0000254", dim{1}, ""},
	{"[ft_us]", false, "1200/3937", dim{1}, ""}, {"[in_us]", false, "100/3937", dim{1}, ""},
	{"[sin_i]", false, "0.00064516", dim{2}, ""}, {"[sft_i]", false, "0.09290304", dim{2}, ""},
	{"[cin_i]", false, "0.000016387064", dim{3}, ""}, {"[cft_i]", false, "0.028316846592", dim{3}, ""},
	{"[lb_av]", false, "0.45359237", dim{0, 1}, ""}, {"[oz_av]", false, "0.028349523125", dim{0, 1}, ""},
	{"[gr]", false, "0.00006479891", dim{0, 1}, ""}, {"[oz_tr]", false, "0.0311034768", dim{0, 1}, ""},
	{"[ston_av]", false, "907.18474", dim{0, 1}, ""}, {"[lton_av]", false, "1016.0469088", dim{0, 1}, ""},
	{"[lbf_av]", false, "4.4482216152605", dim{1, 1, -2}, ""},
	{"[psi]", false, "44482216152605/6451600000", dim{-1, 1, -2}, ""}, // lbf per square inch
	{"[gal_us]", false, "0.003785411784", dim{3}, ""}, {"[qt_us]", false, "0.000946352946", dim{3}, ""},
	{"[pt_us]", false, "0.000473176473", dim{3}, ""}, {"[foz_us]", false, "0.0000295735295625", dim{3}, ""},
	{"[bbl_us]", false, "0.158987294928", dim{3}, ""}, {"[gal_br]", false, "0.00454609", dim{3}, ""},
	{"[HP]", false, "745.69987158227022", dim{2, 1, -3}, ""}, {"[Btu_IT]", false, "1055.05585262", dim{2, 1, -2}, ""},
}

// prefixes of UCUM, two letters first: "da" before "d".
var prefixes = [...]struct{ name, factor string }{
	{"da", "10"}, {"Y", "1e24"}, {"Z", "1e21"}, {"E", "1e18"}, {"P", "1e15"}, {"T", "1e12"}, {"G", "1e9"}, {"M", "1e6"},
	{"k", "1000"}, {"h", "100"}, {"d", "1/10"}, {"c", "1/100"}, {"m", "1/1000"}, {"u", "1e-6"}, {"n", "1e-9"}, {"p", "1e-12"},
}
