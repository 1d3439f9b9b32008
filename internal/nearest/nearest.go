// Package nearest finds the known name that a misspelled one was probably meant to
// be, for messages that ask "did you mean ...?".
//
// It only compares texts: it does no I/O, keeps no state and imports the standard
// library only. The messages of mapping/formula, mapping/engine, internal/unit and
// internal/conf use it; connectors and the rooms of the pipeline call conf.Nearest.
package nearest

import (
	"slices"
	"strings"
)

// maxRunes is longer than any name: of longer ones none is near, so the table of distance stays small.
const maxRunes = 64

// Option narrows what counts as near.
type Option uint8

const (
	// AsWritten lets case, '-', '_' and spaces count like every other letter.
	AsWritten Option = iota + 1
	// TwoLetters finds nothing for a name of fewer than two letters: each of them is near to every other.
	TwoLetters
)

// Name returns the known name that name was probably meant to be, or "" when none
// is near. Case, '-', '_' and spaces do not count as differences; otherwise at most
// a third of the letters may differ. The first of equally near names wins.
func Name(name string, known []string, options ...Option) string {
	letters := fold
	if slices.Contains(options, AsWritten) {
		letters = func(s string) []rune { return []rune(s) }
	}
	wanted := letters(name)
	if slices.Contains(options, TwoLetters) && len(wanted) < 2 {
		return ""
	}
	best, bestDistance := "", 1+max(1, len([]rune(name))/3)
	for _, k := range known {
		if d := distance(wanted, letters(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

func fold(s string) []rune {
	return []rune(strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s)))
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours cost 1 each.
func distance(a, b []rune) int {
	if len(a) > maxRunes || len(b) > maxRunes {
		return max(len(a), len(b))
	}
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
