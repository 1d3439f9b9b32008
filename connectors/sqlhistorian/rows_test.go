package sqlhistorian

import (
	"database/sql"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plantloom/plantloom/internal/conf"
	"github.com/plantloom/plantloom/pipeline"
)

func TestDataintegrityBecomesAStatusCode(t *testing.T) {
	t.Parallel()
	for integrity, want := range map[int64]pipeline.Quality{
		192: pipeline.Good, 216: pipeline.GoodLocalOverride, 200: pipeline.Good,
		64: pipeline.Uncertain, 68: pipeline.UncertainLastUsable, 80: 0x40930000, 84: 0x40940000, 88: pipeline.UncertainSubNormal,
		0: pipeline.Bad, 4: pipeline.BadConfigurationError, 8: pipeline.BadNotConnected, 12: pipeline.BadDeviceFailure,
		16: pipeline.BadSensorFailure, 20: pipeline.BadOutOfService, 24: pipeline.BadCommunicationError, 28: pipeline.BadOutOfService,
		32: pipeline.BadWaitingForInitialData, 36: pipeline.Bad, 128: pipeline.Bad, 500: pipeline.Bad, -1: pipeline.Bad,
		193: 0x00000500, 194: 0x00000600, 195: 0x00000700, 85: 0x40940500, // limits: low, high, constant
	} {
		if got := quality(sql.NullInt64{Int64: integrity, Valid: true}); got != want {
			t.Errorf("dataintegrity %d is %08x, want %08x", integrity, uint32(got), uint32(want))
		}
	}
	if got := quality(sql.NullInt64{}); got != pipeline.Uncertain {
		t.Errorf("no dataintegrity is %v", got)
	}
}

func TestValuesKeepOrTakeTheTypeOfTheTagList(t *testing.T) {
	t.Parallel()
	integer := func(v int64) row { return row{integer: sql.NullInt64{Int64: v, Valid: true}} }
	float := func(v float64) row { return row{float: sql.NullFloat64{Float64: v, Valid: true}} }
	text := func(v string) row { return row{text: sql.NullString{String: v, Valid: true}} }
	date := time.Date(2024, 3, 1, 6, 0, 0, 5e6, time.UTC)
	for name, c := range map[string]struct {
		row  row
		typ  string
		want pipeline.Value
		ok   bool
	}{
		"integer":                 {integer(1 << 60), "", pipeline.Int(1 << 60), true},
		"integer as uint":         {integer(3), "uint", pipeline.Uint(3), true},
		"below zero as uint":      {integer(-3), "uint", pipeline.Null(), false},
		"integer as bool":         {integer(1), "bool", pipeline.Bool(true), true},
		"integer as float":        {integer(3), "float", pipeline.Double(3), true},
		"integer as text":         {integer(17), "text", pipeline.Text("17"), true},
		"float":                   {float(0.1), "", pipeline.Double(0.1), true},
		"whole float as int":      {float(12), "int", pipeline.Int(12), true},
		"fraction as int":         {float(12.5), "int", pipeline.Null(), false},
		"too large a float":       {float(1e30), "int", pipeline.Null(), false},
		"not a number as int":     {float(math.NaN()), "int", pipeline.Null(), false},
		"text":                    {text("0017"), "text", pipeline.Text("0017"), true},
		"text as int":             {text("0017"), "int", pipeline.Null(), false},
		"nothing":                 {row{}, "int", pipeline.Null(), true},
		"date as a time":          {row{date: date}, "", pipeline.Time(date), true},
		"date as text":            {row{date: "2024-03-01 06:00:00.005"}, "", pipeline.Time(date), true},
		"date as milliseconds":    {row{date: date.UnixMilli()}, "", pipeline.Time(date), true},
		"date as bytes":           {row{date: []byte("2024-03-01T06:00:00.005Z")}, "", pipeline.Time(date), true},
		"date that is none":       {row{date: "yesterday"}, "", pipeline.Null(), false},
		"date where a bool stood": {row{date: date}, "bool", pipeline.Null(), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := c.row.value(c.typ); got != c.want || ok != c.ok {
				t.Errorf("%v, %v; want %v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestEveryColumnOfARowIsRead(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	insert := `INSERT INTO ` + march + ` (tagid, t_stamp, dataintegrity, floatvalue, stringvalue, datevalue) VALUES (1, ?, 192, ?, ?, ?)`
	g.exec(t, insert, at(1).UnixMilli(), 0.5, nil, nil)
	g.exec(t, insert, at(2).UnixMilli(), nil, "größe", nil)
	g.exec(t, insert, at(3).UnixMilli(), nil, nil, at(0))
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=0.5@1", "L/A=größe@2", "L/A=2024-03-01T06:00:00Z@3")
}

func TestAValueOfTheWrongTypeIsBadAndNotLost(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.tags[0].Type = "int"
	g.exec(t, `INSERT INTO `+march+` (tagid, t_stamp, dataintegrity, stringvalue) VALUES (1, ?, 192, 'x')`, at(1).UnixMilli())
	rec, stop := follow(t, g, nil)
	defer stop()
	wantSamples(t, rec, "L/A=null@1")
	if got := rec.Samples()[0].Quality; got != badTypeMismatch {
		t.Errorf("quality %v", got)
	}
}

func TestAWrongConfigurationSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	secret, err := conf.NewSecret("env:X", "")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config, *pipeline.Host){
		"needs file":              func(c *Config, _ *pipeline.Host) { c.File = "" },
		"takes file:":             func(c *Config, _ *pipeline.Host) { c.Password = secret },
		"needs url":               func(c *Config, _ *pipeline.Host) { c.Driver, c.File = Postgres, "" },
		"takes url":               func(c *Config, _ *pipeline.Host) { c.Driver, c.URL = Postgres, "postgres://h/d" },
		"is no address":           func(c *Config, _ *pipeline.Host) { c.Driver, c.File, c.URL = Postgres, "", "postgres://h:port/d" },
		"url contains a password": func(c *Config, _ *pipeline.Host) { c.Driver, c.File, c.URL = Postgres, "", "postgres://u:hunter2@h/d" },
		"contains a password":     func(c *Config, _ *pipeline.Host) { c.Driver, c.File, c.URL = Postgres, "", "host=h password=hunter2" },
		"want the name":           func(c *Config, _ *pipeline.Host) { c.Table = "x; DROP" },
		"below zero":              func(c *Config, _ *pipeline.Host) { c.Overlap = -1 },
		"want now, oldest":        func(c *Config, _ *pipeline.Host) { c.Start = "yesterday" },
		"needs tags":              func(_ *Config, h *pipeline.Host) { h.Tags = nil },
		"is writable":             func(_ *Config, h *pipeline.Host) { h.Tags[0].Writable = true },
		"the same address":        func(_ *Config, h *pipeline.Host) { h.Tags[1].Address = "A" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			c := Defaults()
			c.Driver, c.File = SQLite, "h.db"
			h := pipeline.Host{ID: "h", Tags: []pipeline.Tag{{ID: "1", Address: "a"}, {ID: "2", Address: "b"}}}
			change(&c, &h)
			_, err := newSource(c, h)
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestTheConfigurationIsReadFromAPlantFile(t *testing.T) {
	t.Parallel()
	faults := new(conf.Faults)
	c := Kind().Config().(*Config)
	conf.Decode(conf.Parse("plant.yaml", []byte("driver: sqllite\nfile: x.db\nstart: tomorrow\npoll: 0s\n"), faults).Root, c, faults)
	var got []string
	for _, f := range faults.All() {
		got = append(got, f.Error())
	}
	want := []string{
		`plant.yaml:1:9: "sqllite" is not a value of "driver"; did you mean "sqlite"?`,
		`plant.yaml:3:8: "start": start is "tomorrow", want now, oldest or a time such as 2024-03-01T06:00:00Z`,
		`plant.yaml:4:7: "poll" must be above zero`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
