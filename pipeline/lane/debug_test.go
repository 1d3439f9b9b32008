package lane

import (
	"fmt"
	"sync"
)

var dbgMu sync.Mutex
var dbgLast = map[string]int{}

func DEBUG(f string, a ...any) {
	s := fmt.Sprintf(f, a...)
	dbgMu.Lock()
	dbgLast[s]++
	if dbgLast[s] == 1000 {
		fmt.Println(s)
	}
	dbgMu.Unlock()
}
