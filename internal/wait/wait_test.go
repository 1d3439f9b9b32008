package wait

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestForEndsWithTheTimeOrTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if !For(ctx, 20*time.Second) || time.Since(began) != 20*time.Second {
			t.Errorf("waited %v", time.Since(began))
		}
		if For(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("the context's end was not noticed, after %v", time.Since(began))
		}
		if For(ctx, 0) {
			t.Error("an ended context counts as alive")
		}
		if !For(context.Background(), -1) {
			t.Error("no time to wait ends nothing")
		}
	})
}
