package plant

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config configures a plant. Dir and Now are required.
type Config struct {
	Dir     string // state directory
	Listen  string // OPC UA address, port 0 picks one
	Lines   int    // OPC UA lines L1, L2, ...
	Seed    uint64
	Speed   float64       // divides all durations; 0 means 1
	History time.Duration // how long HistoryRead and the journal reach back; 0 means 3 h

	// HistorianDriver and Historian say where L9 writes; an empty Historian
	// means that there is no L9.
	HistorianDriver string // sqlite (default) or postgres
	Historian       string

	Now func() time.Time
	Log *slog.Logger
	// Out receives a JSON status line at most once a minute. Nil: none.
	Out io.Writer
	// LibraryNodes shows the whole standard address space, which makes the
	// start slower.
	LibraryNodes bool
}

func (cfg *Config) setDefaults() error {
	if cfg.Now == nil || cfg.Dir == "" {
		return errors.New("plant: Dir and Now are required")
	}
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if !(cfg.Speed >= 0.1 && cfg.Speed <= 200) {
		return fmt.Errorf("plant: speed %v is outside 0.1 to 200", cfg.Speed)
	}
	if cfg.History == 0 {
		cfg.History = 3 * time.Hour
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
