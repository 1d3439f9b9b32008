package sqlhistorian

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plantloom/plantloom/pipeline"
)

// row is one row of a data table.
type row struct {
	tagID     int64
	ms        int64 // t_stamp
	integer   sql.NullInt64
	float     sql.NullFloat64
	text      sql.NullString
	date      any // nil, or what the driver makes of datevalue
	integrity sql.NullInt64
}

// maxPage bounds the rows of one time stamp; more cannot be paged by time.
const maxPage = 1 << 20

// readPage reads the rows with from < t_stamp <= to in the order of time, at most
// about limit of them. through is the time up to which they are complete: to, or
// where a full page was cut. Of a cut page the last time stamp is left out, since
// rows of it may be missing; a page that has only one is read again, larger.
func readPage(ctx context.Context, db *database, parts []partition, ids string, from, to int64, limit int) (rows []row, through int64, err error) {
	for {
		through = to
		rows = rows[:0]
		for _, p := range parts {
			if p.to <= from || p.from > through {
				continue
			}
			got, err := readTable(ctx, db, p.table, ids, from, through, limit)
			if err != nil {
				return nil, 0, err
			}
			if len(got) >= limit {
				through = min(through, got[len(got)-1].ms-1)
			}
			rows = append(rows, got...)
		}
		if through > from {
			break
		}
		if limit >= maxPage {
			return nil, 0, fmt.Errorf("more than %d rows have the time stamp %s: they cannot be paged by time", maxPage, stamp(from+1))
		}
		limit = min(2*limit, maxPage)
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.ms > through })
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.tagID, b.tagID)) })
	return rows, through, nil
}

func readTable(ctx context.Context, db *database, table, ids string, from, to int64, limit int) ([]row, error) {
	query := fmt.Sprintf(`SELECT tagid, t_stamp, intvalue, floatvalue, stringvalue, datevalue, dataintegrity FROM %s
		WHERE t_stamp > %d AND t_stamp <= %d AND tagid IN (%s) ORDER BY t_stamp LIMIT %d`, table, from, to, ids, limit)
	result, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	defer func() { _ = result.Close() }()
	var rows []row
	for result.Next() {
		var r row
		if err := result.Scan(&r.tagID, &r.ms, &r.integer, &r.float, &r.text, &r.date, &r.integrity); err != nil {
			return nil, fmt.Errorf("reading %s: %w", table, err)
		}
		rows = append(rows, r)
	}
	if err := result.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", table, err)
	}
	return rows, nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

// value returns a row's value in the type that the tag list wants. ok is false
// when the value is not of that type. Only one column of a row is set.
func (r row) value(want string) (v pipeline.Value, ok bool) {
	switch {
	case r.integer.Valid:
		v = pipeline.Int(r.integer.Int64)
	case r.float.Valid:
		v = pipeline.Double(r.float.Float64)
	case r.text.Valid:
		v = pipeline.Text(r.text.String)
	case r.date != nil:
		at, ok := asTime(r.date)
		if !ok {
			return pipeline.Null(), false
		}
		v = pipeline.Time(at)
	default:
		return pipeline.Null(), true
	}
	return convert(v, want)
}

func convert(v pipeline.Value, want string) (pipeline.Value, bool) {
	switch want {
	case "":
		return v, true
	case "text":
		return pipeline.Text(v.String()), true
	case "float":
		if v.Type() == pipeline.TypeInt || v.Type() == pipeline.TypeDouble {
			return pipeline.Double(v.AsDouble()), true
		}
	case "bool":
		if v.Type() == pipeline.TypeInt || v.Type() == pipeline.TypeDouble {
			return pipeline.Bool(v.AsDouble() != 0), true
		}
	case "int":
		if i, ok := whole(v); ok {
			return pipeline.Int(i), true
		}
	case "uint":
		if i, ok := whole(v); ok && i >= 0 {
			return pipeline.Uint(uint64(i)), true
		}
	}
	return pipeline.Null(), false
}

// whole returns a number without a fraction as an integer; nothing is rounded.
func whole(v pipeline.Value) (int64, bool) {
	switch v.Type() {
	case pipeline.TypeInt:
		return v.AsInt(), true
	case pipeline.TypeDouble:
		f := v.AsDouble()
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<63
	}
	return 0, false
}

// asTime reads datevalue, which has no zone in the schema and is taken as UTC.
// Drivers give a time, a text or milliseconds.
func asTime(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v.UTC(), true
	case int64:
		return time.UnixMilli(v).UTC(), true
	case []byte:
		return asTime(string(v))
	case string:
		if ms, err := strconv.ParseInt(v, 10, 64); err == nil {
			return time.UnixMilli(ms).UTC(), true
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", time.DateOnly} {
			if t, err := time.Parse(layout, strings.TrimSpace(v)); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}
