package conf

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written with a unit: 512B, 64KiB, 64MiB, 2GiB, or
// with the decimal units kB, MB and GB.
type Size int64

type sizeUnit struct {
	name  string
	bytes int64
}

func sizeUnits() []sizeUnit { // longest names first, so that B is tried last
	return []sizeUnit{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
}

// ParseSize reads a Size. Its error says what a size looks like.
func ParseSize(text string) (Size, error) {
	for _, u := range sizeUnits() {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimRight(number, " "), 10, 64)
		if err != nil || n < 0 || number[0] == '+' {
			break
		}
		if n > math.MaxInt64/u.bytes {
			return 0, fmt.Errorf("%q is more bytes than can be counted", text)
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size in bytes, such as 64MiB", text)
}

// String returns the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range []sizeUnit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalText reads a Size.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// ParseDuration reads a duration such as 200ms, 10s, 1m30s, 8h or 7d. A day has
// 24 hours. A number without a unit is an error, except 0.
func ParseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	var total time.Duration
	if days, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, durationError(text)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			rest = "0"
		}
	}
	if rest == "" || rest[0] == '-' || rest[0] == '+' {
		return 0, durationError(text)
	}
	d, err := time.ParseDuration(rest)
	if err != nil || total > math.MaxInt64-d {
		return 0, durationError(text)
	}
	total += d
	if negative {
		total = -total
	}
	return total, nil
}

func durationError(text string) error {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return fmt.Errorf("duration %q has no unit", text)
	}
	if strings.ContainsRune(text, ',') {
		return errors.New("a duration has a decimal point, not a comma")
	}
	return fmt.Errorf("%q is not a duration", text)
}
