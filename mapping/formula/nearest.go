package formula

import "strings"

// Nearest returns the known name that name was probably meant to be, "" when none is near: at most a third of the
// letters may differ, whatever case and underscores.
func Nearest(name string, known []string) string {
	want := strings.ReplaceAll(strings.ToLower(name), "_", "")
	best, fewest := "", 1+max(1, len(want)/3)
	if len(want) < 2 {
		return "" // every short name is near to a letter
	}
	for _, k := range known {
		have := strings.ReplaceAll(strings.ToLower(k), "_", "")
		if len(have) > 64 || len(want) > 64 {
			continue
		}
		if d := edits(want, have); d < fewest {
			best, fewest = k, d
		}
	}
	return best
}

// edits counts insertions, deletions, substitutions and swaps of neighbours.
func edits(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		now, last, before := rows[i%3], rows[(i+2)%3], rows[(i+1)%3]
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j-1]+cost, last[j]+1, now[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
