package main

import "time"

// usage is what a process has used since it began. Bytes are 0 where the system does not count them.
type usage struct {
	CPU      time.Duration // user and system, all threads
	PeakRSS  int64         // bytes
	Read     int64         // bytes by system calls, of sockets too
	Written  int64         // bytes by system calls, to sockets too
	DiskDone int64         // bytes handed to the disk
}

// since returns what was used between two looks; PeakRSS is the newer one's.
func (u usage) since(before usage) usage {
	return usage{u.CPU - before.CPU, u.PeakRSS, u.Read - before.Read, u.Written - before.Written, u.DiskDone - before.DiskDone}
}
