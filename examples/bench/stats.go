package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// spread is what repeated measurements say: the middle, and how far they lie apart.
type spread struct{ Median, Min, Max float64 }

// spreadOf returns the spread of values, all NaN when there are none. values keeps its order.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Clone(values)
	slices.Sort(v)
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// over returns the spread of what pick takes of each run.
func over[R any](runs []R, pick func(R) float64) spread {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = pick(r)
	}
	return spreadOf(values)
}

// String is the median with minimum and maximum; it stands alone where these read the same.
func (s spread) String() string {
	if number(s.Min) == number(s.Max) {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s to %s)", number(s.Median), number(s.Min), number(s.Max))
}

// number shows three digits, and all digits in front of the point, in groups.
func number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case a == 0:
		return "0"
	case a < 0.01:
		return "<0.01"
	case a < 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case a < 100:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return grouped(int64(math.Round(x)))
}

// grouped writes an integer with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
