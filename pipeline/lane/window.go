package lane

// window remembers which records of a partition are done, to find the lowest offset whose predecessors all are.
type window struct {
	slots []slot
	next  int64 // behind everything admitted
	open  int   // admitted and not done
	life  int   // rises when the log was reset; what belongs to an older life is not counted
}

type slot struct {
	offset int64
	done   bool
}

func (w *window) admit(offset int64) {
	w.slots = append(w.slots, slot{offset: offset})
	w.next = offset + 1
	w.open++
}

// restart forgets everything admitted and goes on at an offset.
func (w *window) restart(at int64) {
	*w = window{next: at, life: w.life + 1}
}

// done marks an offset that was admitted in this life; it is marked once.
func (w *window) done(offset int64, life int) {
	if life != w.life {
		return
	}
	lo, hi := 0, len(w.slots)
	for lo < hi {
		mid := (lo + hi) / 2
		if w.slots[mid].offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	w.slots[lo].done = true
	w.open--
	n := 0
	for n < len(w.slots) && w.slots[n].done {
		n++
	}
	w.slots = w.slots[n:]
}

// low is the offset to commit: the first that is not done, or what comes next.
func (w *window) low() int64 {
	if len(w.slots) == 0 {
		return w.next
	}
	return w.slots[0].offset
}
