package unit

// codes are the UNECE Recommendation 20 codes known here, with their meaning in
// UCUM. Where several mean the same, the one that Code returns for UCUM texts
// stands first. End-to-end tests compare them with the list that the OPC
// Foundation publishes.
var codes = [...]struct{ code, ucum string }{
	// counts and ratios
	{"C62", "1"}, {"H87", "{piece}"}, {"EA", "{each}"}, {"PR", "2{pair}"}, {"DZN", "12{dozen}"}, {"NIU", "{iu}"},
	{"P1", "%"}, {"59", "[ppm]"}, {"61", "[ppb]"},
	// mass
	{"KGM", "kg"}, {"GRM", "g"}, {"MGM", "mg"}, {"MC", "ug"}, {"TNE", "t"}, {"LBR", "[lb_av]"}, {"ONZ", "[oz_av]"},
	{"STN", "[ston_av]"}, {"LTN", "[lton_av]"}, {"APZ", "[oz_tr]"},
	// length, area
	{"MTR", "m"}, {"MMT", "mm"}, {"CMT", "cm"}, {"DMT", "dm"}, {"KMT", "km"}, {"4H", "um"}, {"C45", "nm"},
	{"INH", "[in_i]"}, {"FOT", "[ft_i]"}, {"YRD", "[yd_i]"}, {"SMI", "[mi_i]"},
	{"MTK", "m2"}, {"CMK", "cm2"}, {"MMK", "mm2"}, {"INK", "[in_i]2"}, {"FTK", "[ft_i]2"}, {"HAR", "har"},
	// volume
	{"LTR", "l"}, {"MLT", "ml"}, {"CLT", "cl"}, {"DLT", "dl"}, {"HLT", "hl"}, {"4G", "ul"},
	{"MTQ", "m3"}, {"DMQ", "dm3"}, {"CMQ", "cm3"}, {"MMQ", "mm3"}, {"INQ", "[in_i]3"}, {"FTQ", "[ft_i]3"},
	{"GLL", "[gal_us]"}, {"QTL", "[qt_us]"}, {"PTL", "[pt_us]"}, {"OZA", "[foz_us]"}, {"BLL", "[bbl_us]"}, {"GLI", "[gal_br]"},
	// time, frequency
	{"SEC", "s"}, {"MIN", "min"}, {"HUR", "h"}, {"DAY", "d"}, {"WEE", "wk"}, {"ANN", "a"},
	{"C26", "ms"}, {"B98", "us"}, {"C47", "ns"}, {"HTZ", "Hz"}, {"KHZ", "kHz"}, {"MHZ", "MHz"}, {"A86", "GHz"},
	{"C97", "/s"}, {"RPM", "{revolution}/min"}, {"RPS", "{revolution}/s"},
	// temperature
	{"CEL", "Cel"}, {"FAH", "[degF]"}, {"KEL", "K"}, {"A48", "[degR]"},
	// pressure
	{"PAL", "Pa"}, {"KPA", "kPa"}, {"A97", "hPa"}, {"MPA", "MPa"}, {"BAR", "bar"}, {"MBR", "mbar"}, {"PS", "[psi]"},
	{"ATM", "atm"}, {"ATT", "att"}, {"C56", "N/mm2"}, {"HP", "mm[H2O]"}, {"HN", "mm[Hg]"},
	// force; stiffness
	{"NEW", "N"}, {"B47", "kN"}, {"C20", "mN"}, {"B73", "MN"}, {"C78", "[lbf_av]"}, {"B37", "kgf"}, {"4P", "N/m"}, {"F47", "N/mm"},
	// energy before torque: what is not written as a product is energy
	{"JOU", "J"}, {"KJO", "kJ"}, {"3B", "MJ"}, {"GV", "GJ"}, {"WHR", "W.h"}, {"KWH", "kW.h"}, {"MWH", "MW.h"}, {"GWH", "GW.h"},
	{"BTU", "[Btu_IT]"}, {"E14", "kcal_IT"}, {"85", "[ft_i].[lbf_av]"},
	// torque
	{"NU", "N.m"}, {"B48", "kN.m"}, {"D83", "mN.m"}, {"DN", "dN.m"}, {"J72", "cN.m"}, {"F88", "N.cm"},
	{"F21", "[lbf_av].[in_i]"}, {"M92", "[lbf_av].[ft_i]"}, {"B38", "kgf.m"},
	// power
	{"WTT", "W"}, {"KWT", "kW"}, {"MAW", "MW"}, {"C31", "mW"}, {"A90", "GW"}, {"BHP", "[HP]"},
	{"D46", "V.A"}, {"KVA", "kV.A"}, {"D44", "V.A{reactive}"}, {"KVR", "kV.A{reactive}"},
	// speed, acceleration, rotation
	{"MTS", "m/s"}, {"KMH", "km/h"}, {"2X", "m/min"}, {"C16", "mm/s"}, {"H81", "mm/min"}, {"FS", "[ft_i]/s"}, {"FR", "[ft_i]/min"},
	{"HM", "[mi_i]/h"}, {"MSK", "m/s2"}, {"C81", "rad"}, {"C25", "mrad"}, {"DD", "deg"}, {"2A", "rad/s"}, {"E96", "deg/s"},
	// flow of mass and of volume
	{"KGS", "kg/s"}, {"F31", "kg/min"}, {"E93", "kg/h"}, {"F29", "g/s"}, {"F28", "g/min"}, {"F27", "g/h"}, {"E18", "t/h"},
	{"4U", "[lb_av]/h"}, {"K78", "[lb_av]/min"},
	{"MQS", "m3/s"}, {"MQH", "m3/h"}, {"L2", "l/min"}, {"E32", "l/h"}, {"LD", "l/d"}, {"G51", "l/s"}, {"40", "ml/s"}, {"41", "ml/min"},
	// density and concentration
	{"KMQ", "kg/m3"}, {"23", "g/cm3"}, {"GL", "g/l"}, {"M1", "mg/l"}, {"B35", "kg/l"}, {"GP", "mg/m3"}, {"C38", "mol/l"},
	{"28", "kg/m2"}, {"GM", "g/m2"}, {"KL", "kg/m"}, {"GF", "g/m"}, {"C34", "mol"},
	// viscosity
	{"C65", "Pa.s"}, {"C24", "mPa.s"}, {"S4", "m2/s"}, {"C17", "mm2/s"},
	// electricity
	{"AMP", "A"}, {"4K", "mA"}, {"B22", "kA"}, {"VLT", "V"}, {"KVT", "kV"}, {"2Z", "mV"}, {"OHM", "Ohm"}, {"B49", "kOhm"}, {"B75", "MOhm"},
	{"SIE", "S"}, {"FAR", "F"}, {"4O", "uF"}, {"81", "H"}, {"COU", "C"}, {"AMH", "A.h"}, {"LUX", "lx"}, {"LUM", "lm"},
}

// habits are spellings that people bring along, with the code that they mean.
var habits = [...]struct{ written, meant string }{
	{"°C", "Cel"}, {"C°", "Cel"}, {"degC", "Cel"}, {"°F", "[degF]"}, {"degF", "[degF]"}, {"Nm", "N.m"}, {"N·m", "N.m"}, {"N*m", "N.m"},
	{"Ncm", "N.cm"}, {"kWh", "kW.h"}, {"Wh", "W.h"}, {"MWh", "MW.h"}, {"Ah", "A.h"}, {"VA", "V.A"}, {"kVA", "kV.A"}, {"Ω", "Ohm"}, {"ohm", "Ohm"},
	{"µm", "um"}, {"μm", "um"}, {"µs", "us"}, {"rpm", "RPM"}, {"U/min", "RPM"}, {"1/min", "/min"}, {"pcs", "C62"}, {"pc", "C62"}, {"Stk", "C62"},
	{"St", "C62"}, {"piece", "H87"}, {"pieces", "H87"}, {"sec", "s"}, {"hr", "h"}, {"ltr", "l"}, {"liter", "l"}, {"litre", "l"}, {"m³", "m3"},
	{"m²", "m2"}, {"m³/h", "m3/h"}, {"in", "[in_i]"}, {"inch", "[in_i]"}, {"ft", "[ft_i]"}, {"yd", "[yd_i]"}, {"mi", "[mi_i]"}, {"lb", "[lb_av]"},
	{"lbs", "[lb_av]"}, {"oz", "[oz_av]"}, {"lbf", "[lbf_av]"}, {"psi", "[psi]"}, {"PSI", "[psi]"}, {"gal", "[gal_us]"}, {"in.lb", "[lbf_av].[in_i]"},
	{"in-lb", "[lbf_av].[in_i]"}, {"inlb", "[lbf_av].[in_i]"}, {"in-lbf", "[lbf_av].[in_i]"}, {"ft-lb", "[lbf_av].[ft_i]"}, {"ftlb", "[lbf_av].[ft_i]"},
	{"ft.lb", "[lbf_av].[ft_i]"}, {"lb.ft", "[lbf_av].[ft_i]"}, {"hp", "[HP]"}, {"percent", "%"}, {"pct", "%"}, {"ppm", "[ppm]"},
	{"Deg", "deg"}, {"°", "deg"}, {"mmHg", "mm[Hg]"}, {"PCE", "C62"}, {"PC", "C62"}, {"ST", "C62"},
}
