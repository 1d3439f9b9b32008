package historian

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// driverID is the row of sqlth_drv that the partitions belong to.
const driverID = 1

// schema lists the tables of Ignition's tag history (version 8.1).
func schema() []string {
	return []string{
		`CREATE TABLE IF NOT EXISTS sqlth_drv (id INTEGER PRIMARY KEY, name VARCHAR(255), provider VARCHAR(255))`,
		`CREATE TABLE IF NOT EXISTS sqlth_scinfo (id INTEGER PRIMARY KEY, scname VARCHAR(255), drvid INTEGER)`,
		`CREATE TABLE IF NOT EXISTS sqlth_sce (scid INTEGER, start_time BIGINT, end_time BIGINT, rate INTEGER)`,
		`CREATE TABLE IF NOT EXISTS sqlth_te (id INTEGER PRIMARY KEY, tagpath VARCHAR(255), scid INTEGER, datatype INTEGER, querymode INTEGER, created BIGINT, retired BIGINT)`,
		`CREATE TABLE IF NOT EXISTS sqlth_partitions (pname VARCHAR(255), drvid INTEGER, start_time BIGINT, end_time BIGINT, blocksize INTEGER, flags INTEGER)`,
		`CREATE TABLE IF NOT EXISTS sqlth_annotations (id INTEGER PRIMARY KEY, tagid INTEGER, start_time BIGINT, end_time BIGINT, type VARCHAR(255), datavalue VARCHAR(255), annotationid VARCHAR(255))`,
	}
}

func (s *store) createTables(ctx context.Context) error {
	for _, q := range schema() {
		if _, err := s.db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	for _, q := range []string{
		`INSERT INTO sqlth_drv (id, name, provider) VALUES (1, 'demo-riverside', 'default') ON CONFLICT DO NOTHING`,
		`INSERT INTO sqlth_scinfo (id, scname, drvid) VALUES (1, '_exempt_', 1) ON CONFLICT DO NOTHING`,
	} {
		if _, err := s.db.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// newest returns the time of the newest row, zero when there is none.
func (s *store) newest(ctx context.Context) (time.Time, error) {
	names, err := s.partitionNames(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var newest int64
	for _, n := range names {
		var ms sql.NullInt64
		// The name comes from our own sqlth_partitions.
		if err := s.db.QueryRowContext(ctx, `SELECT MAX(t_stamp) FROM `+n).Scan(&ms); err != nil {
			return time.Time{}, err
		}
		newest = max(newest, ms.Int64)
	}
	if newest == 0 {
		return time.Time{}, nil
	}
	return time.UnixMilli(newest), nil
}

func (s *store) partitionNames(ctx context.Context) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, s.bind(`SELECT pname FROM sqlth_partitions WHERE drvid = ?`), driverID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// write stores rows in one transaction. Rows that are there already stay.
func (s *store) write(ctx context.Context, rows []Row) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// What was learned in a transaction that fails must be looked up again.
	fail := func(err error) error {
		clear(s.tags)
		clear(s.partitions)
		return errors.Join(err, tx.Rollback())
	}
	for _, r := range rows {
		table, err := s.partition(ctx, tx, r.At)
		if err != nil {
			return fail(err)
		}
		tag, err := s.tag(ctx, tx, r)
		if err != nil {
			return fail(err)
		}
		var intValue, textValue any
		switch v := r.Value.(type) {
		case int64:
			intValue = v
		case string:
			textValue = v
		default:
			return fail(fmt.Errorf("%s: a %T cannot be stored", r.Path, r.Value))
		}
		q := s.bind(`INSERT INTO ` + table + ` (tagid, intvalue, floatvalue, stringvalue, datevalue, dataintegrity, t_stamp) VALUES (?, ?, NULL, ?, NULL, ?, ?) ON CONFLICT DO NOTHING`)
		if _, err := tx.ExecContext(ctx, q, tag, intValue, textValue, goodQuality, r.At.UnixMilli()); err != nil {
			return fail(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fail(err)
	}
	return nil
}

// tag returns the id of a tag, made when it is new.
func (s *store) tag(ctx context.Context, tx *sql.Tx, r Row) (int64, error) {
	if id, ok := s.tags[r.Path]; ok {
		return id, nil
	}
	var id int64
	err := tx.QueryRowContext(ctx, s.bind(`SELECT id FROM sqlth_te WHERE tagpath = ? AND retired IS NULL`), r.Path).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		kind := kindInt
		if _, text := r.Value.(string); text {
			kind = kindString
		}
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(id), 0) + 1 FROM sqlth_te`).Scan(&id); err != nil {
			return 0, err
		}
		_, err = tx.ExecContext(ctx, s.bind(`INSERT INTO sqlth_te (id, tagpath, scid, datatype, querymode, created, retired) VALUES (?, ?, 1, ?, 3, ?, NULL)`),
			id, r.Path, kind, r.At.UnixMilli())
	}
	if err != nil {
		return 0, err
	}
	s.tags[r.Path] = id
	return id, nil
}

// partition returns the table of the month, made when it is new.
func (s *store) partition(ctx context.Context, tx *sql.Tx, at time.Time) (string, error) {
	at = at.UTC()
	name := fmt.Sprintf("sqlt_data_%d_%04d_%02d", driverID, at.Year(), at.Month())
	if s.partitions[name] {
		return name, nil
	}
	for _, q := range []string{
		`CREATE TABLE IF NOT EXISTS ` + name + ` (tagid INTEGER NOT NULL, intvalue BIGINT, floatvalue DOUBLE PRECISION, stringvalue VARCHAR(255), datevalue TIMESTAMP, dataintegrity INTEGER, t_stamp BIGINT NOT NULL, PRIMARY KEY (tagid, t_stamp))`,
		`CREATE INDEX IF NOT EXISTS ` + name + `t_stampndx ON ` + name + ` (t_stamp)`,
	} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return "", err
		}
	}
	var known int
	if err := tx.QueryRowContext(ctx, s.bind(`SELECT COUNT(*) FROM sqlth_partitions WHERE pname = ?`), name).Scan(&known); err != nil {
		return "", err
	}
	if known == 0 {
		first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		_, err := tx.ExecContext(ctx, s.bind(`INSERT INTO sqlth_partitions (pname, drvid, start_time, end_time, blocksize, flags) VALUES (?, ?, ?, ?, 0, 0)`),
			name, driverID, first.UnixMilli(), first.AddDate(0, 1, 0).UnixMilli())
		if err != nil {
			return "", err
		}
	}
	s.partitions[name] = true
	return name, nil
}
