// Package crashlab is the crash laboratory: it runs the bottling line with every role in a process of its own, kills
// processes at random, stops and starts plant and ERP, and then compares the ERP's books with the plant's truth.
//
// It is a test (build tag crashlab) that only drives programs from outside; nothing imports it.
package crashlab
