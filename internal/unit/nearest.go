package unit

import "strings"

// nearest returns the code that text was probably meant to be, or "".
func nearest(text string) string {
	for _, h := range habits {
		if h.written == text {
			return h.meant
		}
	}
	known := make([]string, 0, 2*len(codes)+len(habits))
	for _, c := range codes {
		known = append(known, c.ucum, c.code)
	}
	for _, k := range known {
		if strings.EqualFold(k, text) {
			return k
		}
	}
	for _, h := range habits {
		if strings.EqualFold(h.written, text) {
			return h.meant
		}
	}
	// A quarter of the letters may differ, and one of three.
	best, bestDistance := "", 1+(len([]rune(text))+1)/4
	if len(text) > maxText {
		return ""
	}
	for _, k := range known {
		if d := distance([]rune(text), []rune(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of runes to insert, delete or replace between a and b.
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
