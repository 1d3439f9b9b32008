package nearest

import (
	"strings"
	"testing"
)

func TestTheNearestNameIsFoundOrNone(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxRunes+1)
	for name, tt := range map[string]struct {
		name    string
		known   []string
		options []Option
		want    string
	}{
		"a letter is missing":                          {"ordr", []string{"operation", "order"}, nil, "order"},
		"two neighbours are swapped":                   {"odrer", []string{"order"}, nil, "order"},
		"case and separators do not count":             {"Max-Age", []string{"maxima", "max_age"}, nil, "max_age"},
		"more than a third differs":                    {"orange", []string{"order"}, nil, ""},
		"the first of equally near names wins":         {"rate", []string{"rave", "race"}, nil, "rave"},
		"letters are not bytes":                        {"größe", []string{"grösse", "große"}, nil, "große"},
		"one letter is near to another":                {"x", []string{"y"}, nil, "y"},
		"one letter is near to none where two must be": {"x", []string{"y", "X"}, []Option{TwoLetters}, ""},
		"case counts where it is asked to":             {"CELL", []string{"Cel", "CEL"}, []Option{AsWritten}, "CEL"},
		"separators count where they are asked to":     {"a-b-c", []string{"abc", "a-b-d"}, []Option{AsWritten}, "a-b-d"},
		"names that are too long are near to none":     {long, []string{long}, nil, ""},
		"there are no names":                           {"order", nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Name(tt.name, tt.known, tt.options...); got != tt.want {
				t.Errorf("nearest to %q is %q, want %q", tt.name, got, tt.want)
			}
		})
	}
}
