package sqlhistorian

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

// catalogue is what the history says of its tags: which ids belong to a tag of
// the list. A tag that was edited has several, the older ones retired, and all of
// them hold its past.
type catalogue struct {
	tags    map[int64]pipeline.Tag // by tagid
	drivers map[int64]bool         // whose partitions hold the rows
	ids     string                 // the tagids for a query, "" when there are none
	missing []string               // tags of the list that the history lacks, in words
	state   string                 // of sqlth_te when it was read
}

// catalogueState changes when a tag is added, which an edit of a tag does too.
func catalogueState(ctx context.Context, db *database) (string, error) {
	var count, newest int64
	err := db.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MAX(id), 0) FROM sqlth_te`).Scan(&count, &newest)
	if err != nil {
		return "", fmt.Errorf("reading sqlth_te: %w", err)
	}
	return fmt.Sprintf("%d/%d", count, newest), nil
}

// readCatalogue resolves the tag list. Paths are compared without regard to case:
// gateways store them in lower case or as they are shown.
func readCatalogue(ctx context.Context, db *database, list []pipeline.Tag, system string) (*catalogue, error) {
	state, err := catalogueState(ctx, db)
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]pipeline.Tag, len(list))
	for _, t := range list {
		wanted[strings.ToLower(t.Address)] = t
	}
	c := &catalogue{tags: map[int64]pipeline.Tag{}, drivers: map[int64]bool{}, state: state}
	systems, paths, err := c.resolve(ctx, db, wanted, system)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if _, ok := systems[strings.ToLower(t.Address)]; !ok {
			c.missing = append(c.missing, missing(t, paths))
		}
	}
	c.ids = idList(c.tags)
	return c, nil
}

// resolve fills the catalogue with the ids of the wanted tags. It returns the
// system of each path that it found, and the paths that are not wanted.
func (c *catalogue) resolve(ctx context.Context, db *database, wanted map[string]pipeline.Tag, system string) (systems map[string]string, paths []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT te.id, te.tagpath, drv.id, drv.name FROM sqlth_te te
		LEFT JOIN sqlth_scinfo sc ON sc.id = te.scid LEFT JOIN sqlth_drv drv ON drv.id = sc.drvid`)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sqlth_te: %w", err)
	}
	defer func() { _ = rows.Close() }()
	systems = map[string]string{}
	for rows.Next() {
		var id int64
		var path, name sql.NullString
		var driver sql.NullInt64
		if err := rows.Scan(&id, &path, &driver, &name); err != nil {
			return nil, nil, fmt.Errorf("reading sqlth_te: %w", err)
		}
		if system != "" && !strings.EqualFold(name.String, system) {
			continue
		}
		key := strings.ToLower(path.String)
		tag, ok := wanted[key]
		if !ok {
			paths = append(paths, path.String)
			continue
		}
		if other, twice := systems[key]; twice && other != name.String {
			return nil, nil, fmt.Errorf("tag path %s is in the histories of %q and %q: say which with system:", tag.Address, other, name.String)
		}
		systems[key] = name.String
		c.tags[id], c.drivers[driver.Int64] = tag, true
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("reading sqlth_te: %w", err)
	}
	return systems, paths, nil
}

func missing(t pipeline.Tag, paths []string) string {
	if near := conf.Nearest(t.Address, paths); near != "" {
		return fmt.Sprintf("%s (did you mean %s?)", t.Address, near)
	}
	return t.Address
}

// idList joins ids for an IN clause. They are numbers of the database's own, so
// they stand in the text: drivers differ in how many parameters they take.
func idList(tags map[int64]pipeline.Tag) string {
	ids := make([]int64, 0, len(tags))
	for id := range tags {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(parts, ",")
}

// partition is a data table and the stretch of time that it holds, in ms.
type partition struct {
	table    string
	from, to int64 // [from, to)
}

// readPartitions returns the data tables of the drivers that hold rows of
// (after, until], each once with its whole stretch although sqlth_partitions may
// list it several times. Tables that are listed and gone, as pruning leaves them,
// are named in lost.
func readPartitions(ctx context.Context, db *database, table string, drivers map[int64]bool, after, until int64) (found []partition, lost []string, err error) {
	if table != "" {
		return []partition{{table: table, from: math.MinInt64, to: math.MaxInt64}}, nil, nil
	}
	rows, err := db.QueryContext(ctx, `SELECT pname, drvid, start_time, end_time FROM sqlth_partitions`)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sqlth_partitions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	byName := map[string]int{}
	for rows.Next() {
		var name sql.NullString
		var driver, from, to sql.NullInt64
		if err := rows.Scan(&name, &driver, &from, &to); err != nil {
			return nil, nil, fmt.Errorf("reading sqlth_partitions: %w", err)
		}
		if !drivers[driver.Int64] {
			continue
		}
		if !tableName.MatchString(name.String) {
			return nil, nil, fmt.Errorf("sqlth_partitions names a table %q, which is no table name", name.String)
		}
		p := partition{table: name.String, from: math.MinInt64, to: math.MaxInt64}
		if from.Valid {
			p.from = from.Int64
		}
		if to.Valid && to.Int64 > 0 {
			p.to = to.Int64
		}
		if i, twice := byName[p.table]; twice {
			found[i].from, found[i].to = min(found[i].from, p.from), max(found[i].to, p.to)
			continue
		}
		byName[p.table] = len(found)
		found = append(found, p)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("reading sqlth_partitions: %w", err)
	}
	found = slices.DeleteFunc(found, func(p partition) bool { return p.to <= after || p.from > until })
	return keepExisting(ctx, db, found)
}

func keepExisting(ctx context.Context, db *database, all []partition) (found []partition, lost []string, err error) {
	for _, p := range all {
		var n int
		if err := db.QueryRowContext(ctx, db.exists(p.table)).Scan(&n); err != nil {
			return nil, nil, fmt.Errorf("looking for partition %s: %w", p.table, err)
		}
		if n == 0 {
			lost = append(lost, p.table)
			continue
		}
		found = append(found, p)
	}
	return found, lost, nil
}
